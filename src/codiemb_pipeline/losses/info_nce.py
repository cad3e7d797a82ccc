"""InfoNCE with any number of positives per query, given candidates and masks.

The caller builds the masks (``losses.masks``), so nothing here can tell whether the candidates came from one process or
from eight, nor which of them are hard negatives.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from codiemb_pipeline.losses.operands import check_finite, check_temperature, connected_zero, same_precision


def info_nce_sum(
    queries: Tensor,
    candidates: Tensor,
    positive_mask: Tensor,
    ignore_mask: Tensor | None = None,
    *,
    temperature: float,
    slots: Tensor | None = None,
    slot_count: int = 1,
) -> tuple[Tensor, Tensor]:
    """Return the sum over queries of their InfoNCE, and how many queries it is the sum of.

    With s_in = q_i . c_n / T, P_i the positives of query i and N_i the candidates neither positive of i nor ignored:
    l_i = mean over p in P_i of -log( exp(s_ip) / (exp(s_ip) + sum_{n in N_i} exp(s_in)) ).
    The other positives of a query are in no denominator of its own.

    Source: InfoNCE (arXiv 1807.03748, eq. 4), with the positives of a query averaged as in the IR objective of CoDiEmb
    (arXiv 2508.11442). In its released code (TencentCloudADP/youtu-embedding @9a0d6f3, ``train/loss.py``)
    ``ContrastiveLoss`` takes one positive per query at a time: positive number k meets all hard negatives, but of the
    other queries only *their* positive number k. ``slots`` does the same; without it a positive meets all positives of
    the other queries, P times as many in-batch negatives. Theirs has no ``ignore_mask``: a document two queries
    share is a negative of both (``candidate_masks`` without ``ignore_known``). Theirs gathers the queries too and
    computes all W * B rows on every process, with the same gradients.

    Over several processes, the mean is the sum of own queries (against candidates gathered *with* gradient) divided by
    the count summed over the processes; times the number of processes where gradients get averaged, as in DDP.

    Args:
        queries: (B, D) embeddings, normalised if the similarity is to be the cosine; any floating dtype.
        candidates: (N, D) embeddings, normalised likewise; rows that only fill up must be finite, and ignored.
        positive_mask: (B, N) bool, the candidates that are positives of each query.
        ignore_mask: (B, N) bool, the candidates to leave out of a query's denominators; has no effect on positives.
        temperature: T, above 0.
        slots: (N,) integers: for a positive the number of its slot, 0 to ``slot_count`` - 1; for a hard negative -1.
            Positives then meet candidates of their own slot and hard negatives only. Not given: they meet all.
        slot_count: how many slots there are, at most; of no effect without ``slots``.

    Returns:
        The sum, a scalar, 0 or above, connected to both embeddings; and the number of queries with a positive, a
        scalar of the same dtype without a gradient. A positive without negatives has loss and gradients of 0, a query
        without positives adds to neither.

    Raises:
        ValueError: shapes that do not fit together, masks that are not bool, a temperature not finite and above 0, or
            (on the CPU) an embedding that is not finite.
    """
    check_temperature(temperature)
    check_candidates(queries, candidates, positive_mask, ignore_mask)
    excluded = positive_mask if ignore_mask is None else positive_mask | ignore_mask
    meets, belongs = _slot_masks(candidates, slots, slot_count)
    queries, candidates = same_precision(queries, candidates)
    with torch.autocast(queries.device.type, enabled=False):  # which would multiply in half precision
        similarities = (queries @ candidates.T / temperature)[:, None, :]  # (B, 1, N)
    # The lowest number instead of -inf: a row without negatives keeps finite gradients, exactly 0 once they are used.
    lowest = torch.finfo(similarities.dtype).min
    negatives = similarities.masked_fill(excluded[:, None, :] | ~meets, lowest)  # (B, K, N)
    losses = -logsigmoid(similarities - negatives.logsumexp(dim=2, keepdim=True))
    losses = torch.where(positive_mask[:, None, :] & belongs, losses, 0.0).sum(dim=(1, 2))  # (B,)
    positives = positive_mask.sum(dim=1)
    total = (losses / positives.clamp(min=1)).sum() + connected_zero(queries, candidates)
    return total, (positives > 0).sum().to(total.dtype)


def check_candidates(queries: Tensor, candidates: Tensor, *masks: Tensor | None) -> None:
    """Raise ``ValueError`` unless two matrices of equal width and their masks fit together, and are finite (CPU)."""
    if queries.dim() != 2 or candidates.dim() != 2 or queries.shape[1] != candidates.shape[1]:
        raise ValueError(
            "queries (B, D) and candidates (N, D) must be two matrices of equal width; "
            f"found shapes {tuple(queries.shape)} and {tuple(candidates.shape)}"
        )
    expected = (queries.shape[0], candidates.shape[0])
    wrong = [mask for mask in masks if mask is not None and (mask.shape != expected or mask.dtype != torch.bool)]
    if wrong:
        raise ValueError(
            f"masks must be bool with one row per query and one column per candidate, {expected}; "
            f"found {wrong[0].dtype} of shape {tuple(wrong[0].shape)}"
        )
    check_finite(queries=queries, candidates=candidates)


def _slot_masks(candidates: Tensor, slots: Tensor | None, slot_count: int) -> tuple[Tensor, Tensor]:
    """Return which candidates a positive in slot k meets, and which candidates stand in slot k, both (K, N)."""
    if slots is None:
        everything = torch.ones(1, len(candidates), dtype=torch.bool, device=candidates.device)
        return everything, everything
    if slots.shape != candidates.shape[:1] or slot_count < 1:
        raise ValueError(
            f"slots must hold one number per candidate, ({len(candidates)},), and slot_count be 1 or more; "
            f"found shape {tuple(slots.shape)} and {slot_count}"
        )
    belongs = slots == torch.arange(slot_count, device=slots.device)[:, None]
    return belongs | (slots < 0), belongs
