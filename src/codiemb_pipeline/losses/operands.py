"""What every loss does before its formula: check shapes, raise the precision, keep the graph.

Values on an accelerator are never read, because that would make it wait. A wrong *shape* is therefore an error
everywhere; a NaN or an infinity is an error on the CPU, and elsewhere makes the loss NaN or infinite, at which the
training loop stops before anything is saved.
"""

import math

import torch
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


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return float32 and float64 as they are and any other dtype, half precision above all, as float32."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def same_precision(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return both tensors in the more precise of their dtypes, float32 at least."""
    first, second = at_least_float32(first), at_least_float32(second)
    dtype = torch.promote_types(first.dtype, second.dtype)
    return first.to(dtype), second.to(dtype)


def scored_pairs(predicted: Tensor, gold: Tensor) -> tuple[Tensor, Tensor]:
    """Check a list of pairs and return it ready for a list-wise loss.

    Args:
        predicted: (n,) similarities by the model, of a floating dtype.
        gold: (n,) human scores, of any real dtype. Taken as constants: no gradient reaches them.

    Returns:
        Both, (n,), in the dtype of ``predicted``, raised to float32 if it is below.

    Raises:
        ValueError: not one-dimensional, not equally long, ``predicted`` not of a floating dtype, or (on the CPU) a
            value that is not finite.
    """
    if predicted.dim() != 1 or predicted.shape != gold.shape:
        raise ValueError(
            "predicted and gold must be two lists of the same length, one value per pair; "
            f"found shapes {tuple(predicted.shape)} and {tuple(gold.shape)}"
        )
    if not predicted.is_floating_point():
        raise ValueError(f"predicted must be of a floating dtype to carry a gradient; found {predicted.dtype}")
    check_finite(predicted=predicted, gold=gold)
    predicted = at_least_float32(predicted)
    return predicted, gold.detach().to(predicted.dtype)


def check_temperature(temperature: float) -> None:
    """Raise ``ValueError`` unless ``temperature``, a plain number, is finite and above 0."""
    if not (math.isfinite(temperature) and temperature > 0.0):
        raise ValueError(f"temperature divides the similarities: it must be finite and above 0; found {temperature}")


def connected_zero(*tensors: Tensor) -> Tensor:
    """Return a scalar 0 that depends on all the tensors: their gradients are zeros, not ``None``.

    A fresh ``tensor(0.0, requires_grad=True)``, which the released code returns for degenerate batches, leaves the
    parameters of that process without gradients, and their all-reduce without a partner. A NaN or an infinity in any
    of the tensors makes the result NaN.
    """
    total = (tensors[0] * 0).sum()
    return sum(((tensor * 0).sum() for tensor in tensors[1:]), total)
