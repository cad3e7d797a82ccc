"""RankKL: divergence of the model's similarities from the order of the human scores."""

import torch
from torch import Tensor

from codiemb_pipeline.losses.operands import at_least_float32, check_temperature, connected_zero, scored_pairs


def rank_kl(predicted: Tensor, gold: Tensor, *, temperature: float, divide_by_pairs: bool = True) -> Tensor:
    """Return the KL divergence of a softmax over the similarities from a softmax over the ranks of the human scores.

    With r_i the average rank of y_i = ``gold`` from the top (0 is the best, ties share the mean of their places),
    p = softmax_i( ((n - 1 - r_i) / (n - 1)) / T ) and q = softmax_i(s_i / T) for s = ``predicted``:
    loss = sum_i p_i (log p_i - log q_i), divided by n if ``divide_by_pairs``.

    Source: the STS objective of CoDiEmb (arXiv 2508.11442); in its released code (TencentCloudADP/youtu-embedding
    @9a0d6f3, ``train/loss.py``) ``RankKLDivergenceLoss``. A KL divergence is the sum; theirs comes out divided by the
    number of pairs, because it asks for ``batchmean`` of a one-dimensional tensor. The default is theirs all the same:
    the published weight 5 was tuned with it. Theirs ranks on the CPU through SciPy, ours on the tensor's device; the
    two agree to 1e-5, as theirs takes the target in float32.

    Args:
        predicted: (n,) similarities by the model; cosines, as ranks are spread over [0, 1].
        gold: (n,) human scores, any range: only their order counts.
        temperature: T, above 0.
        divide_by_pairs: whether to divide the divergence by n, as the released code does.

    Returns:
        Scalar, 0 or above, float32 (float64 for float64 predictions). Tied gold scores share one target; constant gold
        makes the target uniform. Fewer than two pairs: 0, connected to ``predicted``.

    Raises:
        ValueError: not two lists of the same length, a temperature that is not finite and above 0, or (on the CPU) an
            operand that is not finite.
    """
    check_temperature(temperature)
    predicted, gold = scored_pairs(predicted, gold)
    zero = connected_zero(predicted, gold)
    pairs = len(predicted)
    if pairs < 2:
        return zero
    # (n - 1 - r) is the rank from the bottom, which average_ranks gives at once.
    log_target = (average_ranks(gold) / ((pairs - 1) * temperature)).log_softmax(dim=0)
    log_model = (predicted / temperature).log_softmax(dim=0)
    divergence = (log_target.exp() * (log_target - log_model)).sum()
    return (divergence / pairs if divide_by_pairs else divergence) + zero


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
