"""What a benchmark's score is made of, item by item, so that two models can be compared on the same items.

For retrieval an item is a query and its number nDCG@10, in the order of the queries' table; for similarity an item is a
pair and its number the model's cosine, in the order of the pairs' table. Read from the predictions mteb saves; knows
nothing of encoders.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from codiemb_pipeline.evaluate.local_tasks import BenchmarkData
from codiemb_pipeline.jsonl import read_json

DIGITS = 6
DEPTH = 10


def read_items(predictions: Path, benchmark: BenchmarkData) -> list[float]:
    """Return the number of each item of ``benchmark``.

    Args:
        predictions: the file mteb saved.
        benchmark: what was judged.
    """
    found = read_json(predictions)["default"][benchmark.params.split]
    if benchmark.params.type == "sts":
        return [round(float(value), DIGITS) for value in found["cosine_scores"]]
    judged = _judgements(benchmark)
    queries = [query for query in benchmark.tables["queries"]["query_id"] if query in judged]
    return [round(_ndcg(found.get(query, {}), judged[query]), DIGITS) for query in queries]


def gold_of(benchmark: BenchmarkData) -> list[float] | None:
    """Return the human scores of the pairs, in order; ``None`` for retrieval."""
    if benchmark.params.type != "sts":
        return None
    return [round(float(value), DIGITS) for value in benchmark.tables["pairs"]["gold"]]


def _judgements(benchmark: BenchmarkData) -> dict[str, dict[str, int]]:
    judged: dict[str, dict[str, int]] = {}
    for query, document, relevance in benchmark.tables["qrels"].itertuples(index=False):
        judged.setdefault(query, {})[document] = int(relevance)
    return judged


def _ndcg(scores: dict[str, Any], relevant: dict[str, int]) -> float:
    """Return nDCG@10 of one query with linear gain, ties broken by falling document id, as trec_eval has it."""
    ranked = sorted(scores, key=lambda document: (float(scores[document]), document), reverse=True)[:DEPTH]
    discounts = 1.0 / np.log2(np.arange(2, DEPTH + 2))
    gains = np.array([relevant.get(document, 0) for document in ranked], dtype=np.float64)
    ideal = np.sort(np.array(list(relevant.values()), dtype=np.float64))[::-1][:DEPTH]
    return float((gains * discounts[: len(gains)]).sum() / (ideal * discounts[: len(ideal)]).sum())
