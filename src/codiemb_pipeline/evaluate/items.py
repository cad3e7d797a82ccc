"""What a benchmark's score is made of, item by item, so that two models can be compared on the same items.

For retrieval an item is a query and its number nDCG@10, in the order of the queries; for similarity an item is a pair
and its number the model's cosine, in the order of the pairs. Knows nothing of encoders.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codiemb_pipeline.jsonl import read_json

DIGITS = 6
QUERY_METRIC = "ndcg_cut_10"  # as trec_eval calls it


def watch_queries(task: Any) -> dict[str, float]:
    """Return a table that scoring ``task``, of retrieval, fills with the nDCG@10 of each query.

    Through the hook mteb has for a task's own scores: its other way out, a file of every query's 1,000 documents, takes
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
    """Return the cosine of each pair from the file of predictions that mteb saved."""
    return rounded(read_json(predictions)["default"][split]["cosine_scores"])


def rounded(numbers: list[float]) -> list[float]:
    """Return the numbers at the digits they are kept with."""
    return [round(float(value), DIGITS) for value in numbers]
