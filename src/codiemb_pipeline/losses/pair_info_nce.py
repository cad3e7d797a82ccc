"""InfoNCE between the texts of scored pairs."""

import torch
from torch import Tensor

from codiemb_pipeline.losses.info_nce import info_nce_sum
from codiemb_pipeline.losses.operands import check_finite, connected_zero


def pair_info_nce_sum(
    embeddings_a: Tensor,
    embeddings_b: Tensor,
    gold: Tensor,
    ignore_mask: Tensor | None = None,
    *,
    threshold: float,
    temperature: float,
    first_column: int = 0,
) -> tuple[Tensor, Tensor]:
    """Return InfoNCE of the good pairs, from a to b, as a sum, and the number of good pairs.

    The method has it on a middle layer (``mid_info_nce``); on the final embeddings it is the baseline "InfoNCE for
    everything" (``info_nce``).

    Query a_i of each pair with y_i >= threshold, its one positive b_i, and as negatives all other b, *those of pairs
    below the threshold included*; formula as ``info_nce_sum``. Divide by the count (of all processes) for the mean.

    Source: the "MidNCE" term of the released code (TencentCloudADP/youtu-embedding @9a0d6f3, ``train/loss.py``:
    ``ContrastiveLoss`` for STS), on the hidden state of the middle layer. Theirs compares gold with 1.0 on whatever
    scale the source has, which on 0 to 5 makes nearly all pairs positive; here gold is on one scale, [0, 1], and the
    threshold an argument. Theirs has no ``ignore_mask``; without it ours is theirs.

    Args:
        embeddings_a: (n, D) normalised embeddings of the first texts.
        embeddings_b: (N, D) of the second texts; more than n if gathered from several processes.
        gold: (n,) human scores.
        ignore_mask: (n, N) bool, the b that may not be negatives of a pair, as other copies of its own texts:
            ``candidate_masks`` with one document per query gives it.
        threshold: the lowest gold of a good pair.
        temperature: T, above 0.
        first_column: row of ``embeddings_b`` that holds b_0.

    Returns:
        The sum over the good pairs, a scalar connected to both embeddings, and their number, a scalar without a
        gradient; both 0 where there are none.

    Raises:
        ValueError: shapes that do not fit together, a temperature not above 0, or (on the CPU) an operand that is not
            finite.
    """
    pairs, candidates = len(embeddings_a), len(embeddings_b)
    if gold.shape != (pairs,) or not 0 <= first_column <= candidates - pairs:
        raise ValueError(
            f"expected one gold value for each of {pairs} pairs, and their second texts from row {first_column} on "
            f"among {candidates}; found gold of shape {tuple(gold.shape)}"
        )
    check_finite(gold=gold)
    columns = torch.arange(candidates, device=gold.device)
    own = columns == first_column + torch.arange(pairs, device=gold.device)[:, None]  # (n, N)
    good = own & (gold >= threshold)[:, None]
    total, count = info_nce_sum(embeddings_a, embeddings_b, good, ignore_mask, temperature=temperature)
    return total + connected_zero(gold.detach()).to(total.dtype), count
