"""The Pearson loss over a list of scored pairs."""

import torch
from torch import Tensor

from codiemb_pipeline.losses.operands import connected_zero, scored_pairs


def pearson(predicted: Tensor, gold: Tensor) -> Tensor:
    """Return 1 minus Pearson's correlation of the model's similarities with the human scores.

    loss = 1 - sum_i (s_i - mean s)(y_i - mean y) / (|s - mean s| |y - mean y|), with s ``predicted`` and y ``gold``.

    Source: the STS objective of CoDiEmb (arXiv 2508.11442); in its released code (TencentCloudADP/youtu-embedding
    @9a0d6f3, ``train/loss.py``) ``PearsonCorrelationLoss``. Theirs is NaN for constant predictions, and for constant
    gold a 0 without a graph; ours is a connected 0 for both. A list counts as constant when its range is within
    rounding (4 machine epsilons of its largest absolute value), where the correlation would be one of rounding errors.

    Args:
        predicted: (n,) similarities by the model, any range, any floating dtype.
        gold: (n,) human scores, any range.

    Returns:
        Scalar in [0, 2], float32 (float64 for float64 predictions). For fewer than two pairs, constant gold or constant
        predictions: 0, connected to ``predicted`` by gradients of 0.

    Raises:
        ValueError: not two lists of the same length, or (on the CPU) an operand that is not finite.
    """
    predicted, gold = scored_pairs(predicted, gold)
    zero = connected_zero(predicted, gold)
    if len(predicted) < 2:
        return zero
    degenerate = _is_constant(predicted) | _is_constant(gold)
    s, y = _centred(predicted, degenerate), _centred(gold, degenerate)
    # The divisor is replaced before the root: the gradient of an unused branch must be finite too, as 0 * inf is NaN.
    squares = torch.where(degenerate, 1.0, (s * s).sum() * (y * y).sum())
    correlation = (s * y).sum() / squares.sqrt()
    return torch.where(degenerate, 0.0, 1.0 - correlation) + zero


def _is_constant(values: Tensor) -> Tensor:
    """Whether all of (n,) values are equal to within rounding, as a scalar bool tensor."""
    tolerance = 4 * torch.finfo(values.dtype).eps * values.abs().amax()
    return values.amax() - values.amin() <= tolerance


def _centred(values: Tensor, degenerate: Tensor) -> Tensor:
    """Values (n,) less their mean, scaled to a largest absolute value of 1 so that squares neither under- nor overflow.

    The factor may be a constant for the gradient, because the correlation does not depend on it.
    """
    centred = values - values.mean()
    return centred / torch.where(degenerate, 1.0, centred.detach().abs().amax())
