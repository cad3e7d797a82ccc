"""Places of values in their order, tied values sharing one."""

from __future__ import annotations

import torch
from torch import Tensor

from codiemb_pipeline.losses.operands import at_least_float32


def average_ranks(values: Tensor) -> Tensor:
    """Return the place of each value in ascending order, tied values sharing the mean of their places.

    rank_i = #{j: v_j < v_i} + (#{j: v_j = v_i} - 1) / 2. Places count from 0, so that the result is
    ``scipy.stats.rankdata(values, method="average") - 1``, which the released code computes on the CPU at every step;
    here it is two binary searches in the sorted values, on the tensor's device.

    Args:
        values: (n,) of any real dtype; ties are exact equality.

    Returns:
        (n,) float32, or float64 for float64 values, between 0 and n - 1; without a gradient. They sum to n(n - 1)/2.
        NaN counts as the largest of all values, as in ``torch.sort``.

    Raises:
        ValueError: ``values`` is not one-dimensional.
    """
    if values.dim() != 1:
        raise ValueError(f"ranks are of a list of values; found shape {tuple(values.shape)}")
    values = at_least_float32(values.detach()).contiguous()
    in_order = torch.sort(values).values
    smaller = torch.searchsorted(in_order, values, right=False)
    not_larger = torch.searchsorted(in_order, values, right=True)
    return (smaller + not_larger - 1).to(values.dtype) / 2
