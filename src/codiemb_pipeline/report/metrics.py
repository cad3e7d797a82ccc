"""The headline: which merged model stands for the run, and at most eight numbers about it.

The choice is made by the dev scores that ``merge`` recorded, never by a test score: choosing on the numbers one reports
would flatter them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from codiemb_pipeline.artifacts.merge import MergeSummary, merged_name
from codiemb_pipeline.report.inputs import AbsentError
from codiemb_pipeline.report.tables import (
    BASE,
    MEAN_BOTH,
    MEAN_IR,
    MEAN_STS,
    MEAN_TASKS,
    MEAN_TRANSFER,
    Results,
    with_means,
)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The merged model that stands for the run, and the dev score it was chosen by."""

    model: str
    dev: float


def choose_merged(merged: MergeSummary, results: Results) -> Choice:
    """Return the merged model with the highest dev score among those evaluated; the first of equals.

    Raises:
        AbsentError: no merged model was evaluated.
    """
    devs = {merged_name(recipe): merged.methods[recipe].dev for recipe in merged.order}
    known = {model: dev for model, dev in devs.items() if model in results.scores.index}
    if not known:
        raise AbsentError("No merged model with a dev score was evaluated (evaluate.models in params.yaml lists them).")
    best = max(known, key=known.__getitem__)
    return Choice(model=best, dev=known[best])


def dev_scores(merged: MergeSummary | None) -> dict[str, float]:
    """Return the dev score of every checkpoint and merged model that ``merge`` lists."""
    if merged is None:
        return {}
    scores = {candidate.name: candidate.dev for candidate in merged.candidates}
    return scores | {merged_name(recipe): merged.methods[recipe].dev for recipe in merged.order}


def headline_metrics(results: Results, choice: Choice) -> dict[str, float]:
    """Return the numbers for ``dvc metrics``: flat, snake case, eight at most; what is not known is left out.

    ``ir_<metric>``, ``sts_<metric>`` and ``mean`` are the chosen model's means over the benchmarks whose sources were
    trained on; ``*_gain`` are those less base's; ``transfer`` and ``transfer_gain`` are over the other benchmarks, or,
    where there is no transfer, ``mean_of_<n>`` and its gain over the ``n`` of the paper's tasks that were run.
    """
    table = with_means(results)
    metric_of = {
        kind: results.benchmarks[names[0]]["metric"] for kind in ("retrieval", "sts") if (names := results.names(kind))
    }
    names = {
        MEAN_IR: (f"ir_{metric_of.get('retrieval')}", "ir_gain"),
        MEAN_STS: (f"sts_{metric_of.get('sts')}", "sts_gain"),
        MEAN_BOTH: ("mean", "mean_gain"),
        MEAN_TRANSFER: ("transfer", "transfer_gain"),
    }
    if MEAN_TRANSFER not in table:
        names[MEAN_TASKS] = (f"mean_of_{len(results.paper)}", f"mean_of_{len(results.paper)}_gain")
    numbers: dict[str, float] = {}
    for column, (score, gain) in names.items():
        if column in table:
            numbers[score] = float(table.at[choice.model, column])
            numbers[gain] = _gain(table, choice.model, column)
    return {name: round(number, 6) for name, number in numbers.items() if math.isfinite(number)}


def _gain(table: pd.DataFrame, model: str, column: str) -> float:
    return float(table.at[model, column] - table.at[BASE, column]) if BASE in table.index else math.nan
