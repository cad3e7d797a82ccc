"""The scores of a benchmark's items, by which two models are compared on the same items.

In retrieval an item is a query, scored by its nDCG@10; in similarity it is a pair, scored by the model's cosine. Items
keep the benchmark's order.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codiemb_pipeline.jsonl import read_json

DIGITS = 6
QUERY_METRIC = "ndcg_cut_10"  # trec_eval's name


def watch_queries(task: Any) -> dict[str, float]:
    """Return a dictionary that scoring the retrieval ``task`` fills with the nDCG@10 of each query.

    It uses mteb's hook for a task's own scores. The alternative, mteb's file of 1,000 documents per query, takes
    gigabytes for T2Retrieval.
    """
    found: dict[str, float] = {}
    own_scores = task.task_specific_scores

    def keep(scores: Mapping[str, Mapping[str, float]], *rest: Any, **named: Any) -> dict[str, float]:
        found.update({query: float(row[QUERY_METRIC]) for query, row in scores.items()})
        return own_scores(scores, *rest, **named)

    task.task_specific_scores = keep
    return found


def read_cosines(predictions: Path, split: str) -> list[float]:
    """Return the cosine of each pair from mteb's file of predictions."""
    return rounded(read_json(predictions)["default"][split]["cosine_scores"])


def rounded(numbers: list[float]) -> list[float]:
    """Return the numbers rounded to the digits that are stored."""
    return [round(float(value), DIGITS) for value in numbers]
