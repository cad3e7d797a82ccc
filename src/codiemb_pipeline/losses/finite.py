"""Refuses operands that are not finite, where looking costs nothing: the only file of the losses that reads values."""

from __future__ import annotations

from torch import Tensor


class NotFiniteError(ValueError):
    """An operand holds a NaN or an infinity."""


def check_finite(**operands: Tensor) -> None:
    """Raise :class:`NotFiniteError` if an operand on the CPU holds a NaN or an infinity; names it and the place."""
    for name, values in operands.items():
        if values_may_be_read(values) and not bool(values.isfinite().all()):
            place = tuple((~values.isfinite()).nonzero()[0].tolist())
            raise NotFiniteError(
                f"{name} must be finite; found {values[place].item()} at {list(place)} of shape {tuple(values.shape)}"
            )


def values_may_be_read(tensor: Tensor) -> bool:
    """Return whether reading a value costs nothing."""
    return tensor.device.type == "cpu"
