"""Formulas that measure the geometry of embeddings."""

from __future__ import annotations

import math

import torch


def anisotropy(embeddings: torch.Tensor) -> float:
    """Return the mean cosine over all pairs of different rows (n, D): near 0 when spread out, 1 when collapsed.

    Source: Ethayarajh 2019 (arXiv 1909.00512), over all pairs instead of sampled ones.
    """
    unit = torch.nn.functional.normalize(embeddings.double(), dim=-1)
    count = len(unit)
    return float((unit.sum(dim=0).square().sum() - unit.square().sum()) / (count * (count - 1)))


def alignment(first: torch.Tensor, second: torch.Tensor) -> float | None:
    """Return the mean squared distance of positive pairs (n, D) of unit length; ``None`` without pairs.

    Source: Wang & Isola 2020 (arXiv 2005.10242), alpha = 2.
    """
    if not len(first):
        return None
    return float((_unit(first) - _unit(second)).square().sum(dim=1).mean())


def uniformity(embeddings: torch.Tensor) -> float:
    """Return log of the mean of exp(-2 d^2) over pairs of different rows (n, D); about -4 at best, 0 at worst.

    Source: Wang & Isola 2020 (arXiv 2005.10242), t = 2.
    """
    distances = torch.pdist(_unit(embeddings))
    return float(torch.logsumexp(-2 * distances.square(), dim=0) - math.log(len(distances)))


def spectrum(embeddings: torch.Tensor) -> dict[str, float | int | None]:
    """Return measures of the singular values of the embeddings (n, D).

    With p_i the m singular values divided by their sum: ``svd_entropy`` = -sum p log p / log m, in [0, 1];
    ``effective_rank`` = exp(-sum p log p) (Roy & Vetterli 2007); ``numeric_rank``, the number of values above
    max(n, D) * eps * the largest; ``condition_number``, largest over smallest, ``None`` when one is not above it.
    """
    values = torch.linalg.svdvals(embeddings.double())
    shares = values / values.sum()
    positive = shares[shares > 0]
    entropy = float(-(positive * positive.log()).sum())
    bound = max(embeddings.shape) * torch.finfo(torch.float32).eps * float(values[0])
    rank = int((values > bound).sum())
    return {
        "svd_entropy": entropy / math.log(len(values)) if len(values) > 1 else 0.0,
        "effective_rank": math.exp(entropy),
        "numeric_rank": rank,
        "condition_number": float(values[0] / values[-1]) if rank == len(values) else None,
    }


def token_similarity(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean cosine of different tokens of one text, (n,); high means over-smoothing, NaN a single token.

    Args:
        states: token states (n, T, D).
        mask: (n, T), 1 on tokens.
    """
    unit = _unit(states) * mask.unsqueeze(-1)
    counts = mask.sum(dim=1).double()
    similarity = (unit.sum(dim=1).square().sum(dim=-1) - counts) / (counts * (counts - 1))
    return similarity.masked_fill(counts < 2, torch.nan)  # 0 / 0 with rounding could be infinite


def _unit(embeddings: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(embeddings.double(), dim=-1)
