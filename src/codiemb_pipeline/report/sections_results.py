"""What the sections on results show: the result table and the geometry of each model.

From what ``evaluate`` and ``merge`` wrote to plain values for the template; knows nothing of HTML.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from codiemb_pipeline.artifacts.merge import MergeSummary
from codiemb_pipeline.benchmarks.registry import BENCHMARKS, names_of
from codiemb_pipeline.report.figures import gains_chart, model_keys
from codiemb_pipeline.report.formats import count
from codiemb_pipeline.report.inputs import ReportInputs, read_written
from codiemb_pipeline.report.metrics import Choice, dev_scores
from codiemb_pipeline.report.published import published_notes, published_rows
from codiemb_pipeline.report.tables import (
    BASE,
    MEAN_BOTH,
    MEAN_IR,
    MEAN_STS,
    MEAN_TASKS,
    MEAN_TRANSFER,
    Results,
    best_of_each_column,
    differences,
    metric_word,
    with_means,
)

MEAN_LABELS = {MEAN_IR: "retrieval", MEAN_STS: "similarity", MEAN_BOTH: "both", MEAN_TASKS: "all",
               MEAN_TRANSFER: "transfer"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure of the embedding space: its key, name, what it says, which way is usual, decimals shown.

    ``usual`` is -1 where a lower value is what fine-tuning usually aims at, 1 where a higher one is.
    """

    key: str
    name: str
    meaning: str
    usual: int
    decimals: int


MEASURES = (
    Measure(key="anisotropy", name="Anisotropy", usual=-1, decimals=3,
            meaning="Mean cosine of random pairs of texts: 0 when vectors point every way, 1 when all are one."),
    Measure(key="alignment", name="Alignment", usual=-1, decimals=3,
            meaning="Mean squared distance between the two texts of a positive pair: how close they lie."),
    Measure(key="uniformity", name="Uniformity", usual=-1, decimals=3,
            meaning="How evenly texts spread over the sphere; about −4 is even, 0 is one point."),
    Measure(key="effective_rank", name="Effective rank", usual=1, decimals=1,
            meaning="How many directions the texts really use, weighed by how much each is used."),
    Measure(key="numeric_rank", name="Numeric rank", usual=1, decimals=0,
            meaning="How many directions are used at all; the embedding size when none is lost."),
    Measure(key="svd_entropy", name="SVD entropy", usual=1, decimals=3,
            meaning="Evenness of the singular values, from 0 (one direction has it all) to 1 (all share alike)."),
    Measure(key="condition_number", name="Condition number", usual=-1, decimals=1,
            meaning="Largest over smallest singular value: how lopsided the space is."),
    Measure(key="token_similarity", name="Token similarity", usual=-1, decimals=3,
            meaning="Mean cosine between the token states of one text: high means they blur (over-smoothing)."),
)  # fmt: skip


def results_content(results: Results, choice: Choice | None, merged: MergeSummary | None) -> dict[str, Any]:
    """Return the columns and rows of the result table and the chart of gains."""
    table = with_means(results)
    change, best = differences(table), best_of_each_column(table)
    devs = dev_scores(merged)
    rows = [
        {
            "model": model,
            "role": "base" if model == BASE else "chosen" if choice and model == choice.model else "",
            "dev": devs.get(model),
            "cells": [
                _cell(
                    name,
                    results,
                    score=table.at[model, name],
                    gain=None if model == BASE or BASE not in table.index else change.at[model, name],
                    best=bool(best.at[model, name]) and len(table) > 1,
                )
                for name in table
            ],
        }
        for model in table.index
    ]
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
    """Return the rows of published scores, below ours: no difference to base, and no part in who is best."""
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
    """Return the headings above the columns: what was trained on, and transfer."""
    width = len(results.transfer) + (MEAN_TRANSFER in table)
    label = "Sources trained on" if results.transfer else "Benchmarks"
    groups = [{"label": label, "span": table.shape[1] - width, "transfer": False}]
    return groups + (
        [{"label": "Transfer: sources never trained on", "span": width, "transfer": True}] if width else []
    )


def _column(name: str, results: Results) -> dict[str, Any]:
    if name in MEAN_LABELS:
        return {
            "label": "Mean",
            "below": _mean_label(name, results),
            "mean": True,
            "transfer": name == MEAN_TRANSFER,
            "size": "",
        }
    benchmark = results.benchmarks[name]
    size = ", ".join(f"{count(amount)} {what}" for what, amount in (benchmark.get("size") or {}).items())
    transfer = name in results.transfer
    return {"label": name, "below": metric_word(benchmark["metric"]), "mean": False, "transfer": transfer, "size": size}


def _mean_label(name: str, results: Results) -> str:
    """Return what a mean is over; of the paper's tasks also how many, and of how many."""
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
    geometry = read_written(inputs.evaluation / "geometry.json", "evaluate")
    found = geometry["models"]
    models = [name for name in order if name in found] + sorted(set(found) - set(order))
    base = found.get(BASE, {})
    rows = [
        {"measure": measure, "cells": [_geometry_cell(found[name].get(measure.key), base.get(measure.key), measure,
                                                      is_base=name == BASE) for name in models]}
        for measure in MEASURES
    ]  # fmt: skip
    return {
        "models": [{"name": name, "chosen": bool(choice) and name == choice.model} for name in models],
        "rows": rows,
        "texts": geometry.get("texts"),
        "token_texts": geometry.get("token_texts"),
        "positive_pairs": geometry.get("positive_pairs"),
        "dimension": geometry.get("dimension"),
    }


def _geometry_cell(value: float | None, base: float | None, measure: Measure, *, is_base: bool) -> dict[str, Any]:
    change = None if is_base or value is None or base is None else value - base
    return {"value": value, "change": change, "usual": None if change is None else change * measure.usual}
