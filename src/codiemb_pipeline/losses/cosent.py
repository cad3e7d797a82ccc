"""CoSENT, the baseline that orders pairs by comparing every two of them."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from codiemb_pipeline.losses.info_nce import check_candidates
from codiemb_pipeline.losses.operands import check_temperature, connected_zero, same_precision, scored_pairs
from codiemb_pipeline.losses.pro import TIE


def cosent(predicted: Tensor, gold: Tensor, *, temperature: float) -> Tensor:
    """Return the log of one plus the sum, over all two pairs people ordered, of how far the model has them reversed.

    loss = log( 1 + sum over (i, j) with y_i > y_j of exp((s_j - s_i) / T) ), with s ``predicted`` and y ``gold``.

    Source: CoSENT (Su 2022, kexue.fm/archives/8847); sentence-transformers' ``CoSENTLoss`` multiplies by a scale of 20,
    a temperature of 0.05. One of the baselines of CoDiEmb (arXiv 2508.11442), in its released code
    (TencentCloudADP/youtu-embedding @9a0d6f3, ``train/loss.py``) ``CoSentLoss``: the same, but for ties, exact there.

    Args:
        predicted: (n,) similarities by the model.
        gold: (n,) human scores, any range: only their order counts. No further apart than 1e-8, they are tied.
        temperature: T, above 0.

    Returns:
        Scalar, 0 or above, float32 (float64 for float64 predictions). Constant gold or fewer than two pairs: 0,
        connected to ``predicted``. Constant predictions are nothing special: log(1 + number of ordered pairs).

    Raises:
        ValueError: not two lists of the same length, a temperature that is not finite and above 0, or (on the CPU) an
            operand that is not finite.
    """
    check_temperature(temperature)
    predicted, gold = scored_pairs(predicted, gold)
    zero = connected_zero(predicted, gold)
    if len(predicted) < 2:
        return zero
    ordered = gold[:, None] - gold > TIE  # (n, n), y_i > y_j
    reversed_by = (predicted - predicted[:, None]) / temperature  # (n, n), s_j - s_i
    return _log_one_plus_sum(reversed_by, ordered) + zero


def cosent_retrieval(
    queries: Tensor,
    candidates: Tensor,
    positive_mask: Tensor,
    ignore_mask: Tensor | None = None,
    *,
    temperature: float,
) -> Tensor:
    """Return CoSENT over all pairs of query and candidate, gold 1 for positives and 0 for the others.

    With s_in = q_i . c_n, P the positive pairs and N those neither positive nor ignored, the double sum factorises:
    loss = log( 1 + (sum over N of exp(s / T)) (sum over P of exp(-s / T)) ), in memory O(B N) instead of its square.

    The pairs of different queries are compared with each other too: over several processes each has to hold the queries
    and candidates of all (gathered with gradient), so that averaged gradients are those of the joint batch.

    Args:
        queries: (B, D) embeddings, normalised if the similarity is to be the cosine.
        candidates: (N, D) embeddings.
        positive_mask: (B, N) bool.
        ignore_mask: (B, N) bool, pairs to leave out; has no effect on positives.
        temperature: T, above 0.

    Returns:
        Scalar, 0 or above, float32 (float64 for float64 embeddings). Without a positive or without a negative pair: 0,
        connected to both embeddings. Equal similarities everywhere: log(1 + number of positives times negatives).

    Raises:
        ValueError: as :func:`codiemb_pipeline.losses.info_nce.info_nce_sum`.
    """
    check_temperature(temperature)
    check_candidates(queries, candidates, positive_mask, ignore_mask)
    queries, candidates = same_precision(queries, candidates)
    with torch.autocast(queries.device.type, enabled=False):
        scaled = queries @ candidates.T / temperature
    negative_mask = ~positive_mask if ignore_mask is None else ~(positive_mask | ignore_mask)
    exponent = _masked_logsumexp(scaled, negative_mask) + _masked_logsumexp(-scaled, positive_mask)
    # Without either kind it is the lowest number or -inf, where softplus and its gradient are exactly 0.
    return softplus(exponent) + connected_zero(queries, candidates)


def _log_one_plus_sum(exponents: Tensor, mask: Tensor) -> Tensor:
    """Return log(1 + sum of exp(exponents) where ``mask``), 0 where it is nowhere."""
    one = exponents.new_zeros(1)
    return torch.cat([one, exponents.masked_fill(~mask, -torch.inf).flatten()]).logsumexp(dim=0)


def _masked_logsumexp(values: Tensor, mask: Tensor) -> Tensor:
    # The lowest number instead of -inf: where nothing is left, the gradient must be finite, as 0 * NaN is NaN.
    return values.masked_fill(~mask, torch.finfo(values.dtype).min).flatten().logsumexp(dim=0)
