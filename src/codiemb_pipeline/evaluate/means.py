"""Means over the paper's benchmarks: of retrieval, of similarity, and over all tasks. Says how many each is over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codiemb_pipeline.benchmarks.registry import BENCHMARKS, names_of
from codiemb_pipeline.evaluate.items import DIGITS


def paper_means(scores: Mapping[str, Mapping[str, float]], judged: list[str]) -> dict[str, Any] | None:
    """Return the means of every model over the paper's benchmarks among those judged; ``None`` when there is none.

    Args:
        scores: main score by model and benchmark.
        judged: names of the benchmarks of type ``mteb`` that were judged.

    Returns:
        ``tasks`` and ``of``: how many tasks the means ``retrieval``, ``sts`` and ``all`` are over, and how many the
        paper has (8, 7, 15); ``means`` by model. ``all`` is the mean over tasks, not of the two means. A kind of which
        nothing was judged has no mean.
    """
    groups = {"retrieval": names_of("retrieval"), "sts": names_of("sts"), "all": list(BENCHMARKS)}
    present = {kind: [name for name in names if name in judged] for kind, names in groups.items()}
    if not present["all"]:
        return None
    means = {
        model: {
            kind: round(sum(row[n] for n in names) / len(names), DIGITS) for kind, names in present.items() if names
        }
        for model, row in scores.items()
    }
    return {
        "tasks": {kind: len(names) for kind, names in present.items()},
        "of": {kind: len(names) for kind, names in groups.items()},
        "means": means,
    }
