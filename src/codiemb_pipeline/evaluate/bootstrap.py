"""Paired bootstrap of benchmark scores over their items. Knows nothing of models, files or benchmarks' names."""

from __future__ import annotations

import numpy as np


def resampled_scores(items: np.ndarray, gold: np.ndarray | None, draws: np.ndarray) -> np.ndarray:
    """Return a benchmark's score on each resample of its items.

    Args:
        items: (n,) the number of each item: a query's nDCG@10, or a pair's cosine.
        gold: (n,) human scores of the pairs, for Spearman's correlation; ``None`` for the mean.
        draws: (R, n) int64, the items of each resample; the same for models that are to be compared.

    Returns:
        float64 (R,). A resample in which all gold or all cosines are equal scores 0.
    """
    if gold is None:
        return items[draws].mean(axis=1)
    return np.array([_spearman(items[draw], gold[draw]) for draw in draws])


def interval(differences: np.ndarray, level: float) -> tuple[float, float]:
    """Return the percentile interval of (R,) resampled differences."""
    rest = (1.0 - level) / 2
    low, high = np.quantile(differences, [rest, 1.0 - rest])
    return float(low), float(high)


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    a, b = _centred_ranks(first), _centred_ranks(second)
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 0 else 0.0


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks (n,) less their mean, ties sharing theirs."""
    in_order = np.sort(values)
    ranks = np.searchsorted(in_order, values, "left") + np.searchsorted(in_order, values, "right")
    return ranks - ranks.mean()
