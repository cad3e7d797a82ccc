"""What each task minimises: named parts, computed here, and their weighted sum.

The parts are kept apart so that they can be logged one by one. Those of retrieval come straight from
``info_nce.info_nce_sum`` or ``cosent.cosent_retrieval``.
Knows nothing of models, parameters or processes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from codiemb_pipeline.losses.cosent import cosent
from codiemb_pipeline.losses.cosine import cosine_regression
from codiemb_pipeline.losses.finite import check_finite
from codiemb_pipeline.losses.info_nce import info_nce_sum
from codiemb_pipeline.losses.operands import connected_zero
from codiemb_pipeline.losses.pearson import pearson
from codiemb_pipeline.losses.pro import pro
from codiemb_pipeline.losses.rank_kl import rank_kl


def sts_parts(
    predicted: Tensor,
    gold: Tensor,
    *,
    pearson_weight: float,
    rank_kl_weight: float,
    rank_kl_temperature: float,
    rank_kl_divide_by_pairs: bool = True,
    pro_weight: float,
    pro_temperature: float,
    cosent_weight: float = 0.0,
    cosent_temperature: float = 0.05,
    cosine_weight: float = 0.0,
) -> dict[str, Tensor]:
    """Return the list-wise losses of a batch of scored pairs by name, *not* multiplied by their weights.

    objective = weighted_sum of pearson, rank_kl, pro and ``mid_info_nce``, the last from ``mid_info_nce_sum``; or of
    the baselines ``cosent``, ``cosine`` and ``info_nce``, the last from ``mid_info_nce_sum`` on final embeddings.

    Source: the STS objective of CoDiEmb (arXiv 2508.11442); released with weights 2, 5, 0.5, 1 and temperatures 0.05
    (TencentCloudADP/youtu-embedding @9a0d6f3, ``train/model.py``).

    Args:
        predicted: (n,) cosines of the pairs' embeddings.
        gold: (n,) human scores; on [0, 1] in this pipeline, which matters to ``pro`` alone.
        pearson_weight: 0 leaves ``pearson`` out; any other number has it computed.
        rank_kl_weight: 0 leaves ``rank_kl`` out.
        rank_kl_temperature: its T.
        rank_kl_divide_by_pairs: whether it is divided by the number of pairs, as released.
        pro_weight: 0 leaves ``pro`` out.
        pro_temperature: its T.
        cosent_weight: 0 leaves ``cosent`` out.
        cosent_temperature: its T.
        cosine_weight: 0 leaves ``cosine_regression`` out.

    Returns:
        Scalars by name; empty if all weights are 0.

    Raises:
        ValueError: not two lists of the same length, a temperature not above 0, or (on the CPU) an operand that is not
            finite.
    """
    parts = {}
    if pearson_weight != 0:
        parts["pearson"] = pearson(predicted, gold)
    if rank_kl_weight != 0:
        parts["rank_kl"] = rank_kl(
            predicted, gold, temperature=rank_kl_temperature, divide_by_pairs=rank_kl_divide_by_pairs
        )
    if pro_weight != 0:
        parts["pro"] = pro(predicted, gold, temperature=pro_temperature)
    if cosent_weight != 0:
        parts["cosent"] = cosent(predicted, gold, temperature=cosent_temperature)
    if cosine_weight != 0:
        parts["cosine"] = cosine_regression(predicted, gold)
    return parts


def mid_info_nce_sum(
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

    Meant for a middle layer; on the final embeddings it is the baseline "InfoNCE for everything".

    Query a_i of each pair with y_i >= threshold, its one positive b_i, and as negatives all other b, *those of pairs
    below the threshold included*; formula as ``info_nce_sum``. Divide by the count (of all processes) for the mean.

    Source: the "MidNCE" term of the released code (TencentCloudADP/youtu-embedding @9a0d6f3, ``train/loss.py``:
    ``ContrastiveLoss`` for STS), on the hidden state of the middle layer. Theirs compares gold with 1.0 on whatever
    scale the source has, which on 0 to 5 makes nearly all pairs positive; here gold is on one scale, [0, 1], and the
    threshold an argument. Theirs has no ``ignore_mask``; without it ours is theirs.

    Args:
        embeddings_a: (n, D) normalised mid-layer embeddings of the first texts.
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


def weighted_sum(parts: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the sum of the parts, each times its weight.

    Args:
        parts: scalars by name, one at least.
        weights: the weight of each; a weight without a part is allowed only if it is 0.

    Returns:
        Scalar.

    Raises:
        ValueError: no parts; a part without a weight; a part that is missing though its weight is not 0.
    """
    missing = sorted(name for name, weight in weights.items() if weight != 0 and name not in parts)
    unknown = sorted(set(parts) - set(weights))
    if not parts or missing or unknown:
        raise ValueError(
            f"parts {sorted(parts)} and weights {sorted(weights)} do not match: "
            f"without a weight {unknown}, without a part {missing}"
        )
    return torch.stack([weights[name] * parts[name] for name in sorted(parts)]).sum()
