"""Paired bootstrap of benchmark scores over their items."""

from __future__ import annotations

import numpy as np
import torch

from codiemb_pipeline.scoring.metrics import spearman


def resampled_scores(items: np.ndarray, gold: np.ndarray | None, draws: np.ndarray) -> np.ndarray:
    """Return a benchmark's score on each resample of its items.

    Args:
        items: (n,) the number of each item: a query's nDCG@10, or a pair's cosine.
        gold: (n,) human scores of the pairs, for Spearman's correlation; ``None`` for the mean.
        draws: (R, n) int64, the items of each resample; the same for models that are compared.

    Returns:
        float64 (R,). A resample in which all gold scores or all cosines are equal scores 0.
    """
    if gold is None:
        return items[draws].mean(axis=1)
    cosines, scores = torch.from_numpy(items), torch.from_numpy(gold)
    return np.array([spearman(cosines[draw], scores[draw]) for draw in torch.from_numpy(draws)])


def interval(differences: np.ndarray, level: float) -> tuple[float, float]:
    """Return the percentile interval of (R,) resampled differences."""
    rest = (1.0 - level) / 2
    low, high = np.quantile(differences, [rest, 1.0 - rest])
    return float(low), float(high)
