"""The content of the sections on results and geometry."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from codiemb_pipeline.artifacts.evaluate import EmbeddingStats, Geometry
from codiemb_pipeline.artifacts.merge import MergeSummary
from codiemb_pipeline.benchmarks.registry import BENCHMARKS, names_of
from codiemb_pipeline.report.figures import (
    gains_chart,
    model_keys,
)
from codiemb_pipeline.report.formats import count
from codiemb_pipeline.report.inputs import ReportInputs, read_artifact
from codiemb_pipeline.report.results import (
    BASE,
    MEAN_BOTH,
    MEAN_IR,
    MEAN_STS,
    MEAN_TASKS,
    MEAN_TRANSFER,
    Choice,
    Results,
    best_of_each_column,
    dev_scores,
    differences,
    metric_label,
    published_notes,
    published_rows,
    with_means,
)

MEAN_LABELS = {MEAN_IR: "retrieval", MEAN_STS: "similarity", MEAN_BOTH: "both", MEAN_TASKS: "all",
               MEAN_TRANSFER: "transfer"}  # fmt: skip


class Measure(NamedTuple):
    """A measure of the embedding space: a field of ``EmbeddingStats``, its name, the usual aim, decimals, meaning.

    ``usual`` is 1 where fine-tuning usually aims at a higher value, -1 where it aims at a lower one.
    """

    key: str
    name: str
    usual: int
    decimals: int
    meaning: str


MEASURES = (
    Measure("anisotropy", "Anisotropy", -1, 3,
            "Mean cosine of random pairs of texts: 0 when vectors point in all directions, 1 when they are equal."),
    Measure("alignment", "Alignment", -1, 3, "Mean squared distance between the two texts of a positive pair."),
    Measure("uniformity", "Uniformity", -1, 3,
            "How evenly texts spread over the sphere: about −4 when even, 0 when all lie on one point."),
    Measure("effective_rank", "Effective rank", 1, 1,
            "Number of directions that the texts use, weighted by how much each is used."),
    Measure("numeric_rank", "Numeric rank", 1, 0,
            "Number of directions that are used at all; at most the embedding size."),
    Measure("svd_entropy", "SVD entropy", 1, 3,
            "Evenness of the singular values: 0 when one direction holds everything, 1 when all are equal."),
    Measure("condition_number", "Condition number", -1, 1, "Largest over smallest singular value."),
    Measure("token_similarity", "Token similarity", -1, 3,
            "Mean cosine between the token states of one text; a high value means over-smoothing."),
)  # fmt: skip


def results_content(results: Results, choice: Choice | None, merged: MergeSummary | None) -> dict[str, Any]:
    """Return the columns and rows of the result table, and the chart of differences to base."""
    table = with_means(results)
    change, best = differences(table), best_of_each_column(table)
    devs = dev_scores(merged)
    rows = [
        {
            "model": model,
            "role": "base" if model == BASE else "chosen" if choice and model == choice.model else "",
            "dev": devs.get(model),
            "cells": [
                _cell(name, results, score=table.at[model, name], best=bool(best.at[model, name]) and len(table) > 1,
                      gain=None if model == BASE or BASE not in table.index else change.at[model, name])
                for name in table
            ],
        }
        for model in table.index
    ]  # fmt: skip
    return {
        "groups": _groups(table, results),
        "columns": [_column(name, results) for name in table],
        "rows": rows + _published(results),
        "has_dev": bool(devs),
        "transfer": list(results.transfer),
        "notes": published_notes(results),
        **_gains(results),
    }


def _cell(name: str, results: Results, *, score: float, gain: float | None, best: bool) -> dict[str, Any]:
    transfer = name in results.transfer or name == MEAN_TRANSFER
    return {"score": score, "gain": gain, "best": best, "mean": name in MEAN_LABELS, "transfer": transfer}


def _published(results: Results) -> list[dict[str, Any]]:
    """Return the rows of published scores, without differences to base and never marked as best."""
    table = published_rows(results)
    return [
        {
            "model": model,
            "role": "published",
            "dev": None,
            "cells": [_cell(name, results, score=table.at[model, name], gain=None, best=False) for name in table],
        }
        for model in table.index
    ]


def _groups(table: pd.DataFrame, results: Results) -> list[dict[str, Any]]:
    """Return the headings above the columns: benchmarks trained on, and transfer."""
    width = len(results.transfer) + (MEAN_TRANSFER in table)
    label = "Sources trained on" if results.transfer else "Benchmarks"
    groups = [{"label": label, "span": table.shape[1] - width, "transfer": False}]
    transfer = {"label": "Transfer: sources not used in training", "span": width, "transfer": True}
    return [*groups, transfer] if width else groups


def _column(name: str, results: Results) -> dict[str, Any]:
    if name in MEAN_LABELS:
        below = _mean_label(name, results)
        return {"label": "Mean", "below": below, "mean": True, "transfer": name == MEAN_TRANSFER, "size": ""}
    benchmark = results.benchmarks[name]
    size = ", ".join(f"{count(amount)} {what}" for what, amount in benchmark.size.items())
    transfer = name in results.transfer
    return {"label": name, "below": metric_label(benchmark.metric), "mean": False, "transfer": transfer, "size": size}


def _mean_label(name: str, results: Results) -> str:
    """Return what a mean covers; for the paper's tasks also how many of them."""
    paper = set(results.paper)
    over = {
        MEAN_IR: (set(results.names("retrieval")), len(names_of("retrieval"))),
        MEAN_STS: (set(results.names("sts")), len(names_of("sts"))),
        MEAN_TASKS: (paper, len(BENCHMARKS)),
    }
    names, whole = over.get(name, (set(), 0))
    if not names or not names <= paper:
        return MEAN_LABELS[name]
    return f"{MEAN_LABELS[name]}, " + (f"{whole} tasks" if len(names) == whole else f"{len(names)} of {whole} tasks")


def _gains(results: Results) -> dict[str, Any]:
    names = [*results.names("retrieval"), *results.names("sts"), *results.transfer]
    change = differences(results.scores)[names].drop(index=BASE, errors="ignore")
    if BASE not in results.scores.index or change.empty:
        return {"gains": None, "keys": []}
    shown = change.rename(columns=lambda name: f"{name} (transfer)" if name in results.transfer else name)
    return {"gains": gains_chart(shown), "keys": model_keys([str(model) for model in change.index])}


def geometry_content(inputs: ReportInputs, choice: Choice | None, order: list[str]) -> dict[str, Any]:
    """Return a row for each measure with the value of every model.

    Raises:
        AbsentError: ``evaluate`` has written no geometry.
    """
    geometry = read_artifact(Geometry, inputs.evaluation / "geometry.json")
    found = geometry.models
    models = [name for name in order if name in found] + sorted(set(found) - set(order))
    base = found.get(BASE)
    rows = [
        {"measure": measure, "cells": [_geometry_cell(found[name], base, measure) for name in models]}
        for measure in MEASURES
    ]
    return {
        "models": [{"name": name, "chosen": bool(choice) and name == choice.model} for name in models],
        "rows": rows,
        "geometry": geometry,
    }


def _geometry_cell(stats: EmbeddingStats, base: EmbeddingStats | None, measure: Measure) -> dict[str, Any]:
    value, before = getattr(stats, measure.key), getattr(base, measure.key, None)
    change = None if stats is base or value is None or before is None else value - before
    return {"value": value, "change": change, "usual": None if change is None else change * measure.usual}
