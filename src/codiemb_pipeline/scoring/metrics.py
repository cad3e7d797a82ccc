"""nDCG and Spearman's correlation on tensors, for dev scores; benchmarks are scored by mteb."""

import torch
from scipy.stats import rankdata


def ndcg_at_k(ranked: torch.Tensor, qrels: dict[int, dict[int, int]], k: int = 10) -> float:
    """Return the mean nDCG@k over the queries that have a relevant document (Järvelin & Kekäläinen 2002, linear gain).

    Args:
        ranked: document rows by falling similarity, int64 (Q, at least min(k, documents)).
        qrels: relevance (1 or more) by query row and document row.
        k: depth.

    Raises:
        ValueError: no query has a relevant document.
    """
    discounts = 1.0 / torch.log2(torch.arange(2, k + 2, dtype=torch.float64))
    values = []
    for query, relevant in sorted(qrels.items()):
        gains = [float(relevant.get(int(document), 0)) for document in ranked[query, :k]]
        ideal = sorted(map(float, relevant.values()), reverse=True)[:k]
        best = (torch.tensor(ideal, dtype=torch.float64) * discounts[: len(ideal)]).sum()
        values.append((torch.tensor(gains, dtype=torch.float64) * discounts[: len(gains)]).sum() / best)
    if not values:
        raise ValueError("expected at least one query with a relevant document, found none")
    return float(torch.stack(values).mean())


def spearman(predicted: torch.Tensor, gold: torch.Tensor) -> float:
    """Return Spearman's rank correlation of two (n,), ties sharing their mean rank; 0 when either is constant."""
    a, b = (torch.from_numpy(rankdata(values.double().cpu())) for values in (predicted, gold))
    a, b = a - a.mean(), b - b.mean()
    norm = a.norm() * b.norm()
    return float((a @ b) / norm) if norm != 0 else 0.0  # NaN stays NaN
