"""Scores as tables: models by benchmarks, means, differences to base, the chosen model, published scores."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pandas as pd

from codiemb_pipeline.artifacts.evaluate import BenchmarkFacts, EvaluationSummary, Kind
from codiemb_pipeline.artifacts.merge import MergeSummary, merged_name
from codiemb_pipeline.benchmarks.registry import BENCHMARKS, PUBLISHED
from codiemb_pipeline.report.formats import DECIMALS, count, listed
from codiemb_pipeline.report.inputs import AbsentError

BASE = "base"
MEAN_IR, MEAN_STS, MEAN_BOTH, MEAN_TRANSFER = "mean ir", "mean sts", "mean both", "mean transfer"
MEAN_TASKS = "mean of tasks"
METRIC_LABELS = {"ndcg_at_10": "nDCG@10", "cosine_spearman": "Spearman"}


@dataclass(frozen=True, kw_only=True)
class Results:
    """Every model's main score on every benchmark.

    Attributes:
        scores: (models, benchmarks), nDCG in [0, 1] or Spearman in [-1, 1]; NaN where a score is missing.
        benchmarks: facts by name.
        transfer: names of the benchmarks whose source was not trained on.
    """

    scores: pd.DataFrame
    benchmarks: dict[str, BenchmarkFacts]
    transfer: tuple[str, ...]

    @property
    def paper(self) -> list[str]:
        """The names of the paper's benchmarks."""
        return [str(name) for name in self.scores if self.benchmarks[name].hub_id]

    def names(self, kind: Kind) -> list[str]:
        """Return the benchmarks of type ``kind`` whose source was trained on."""
        return [name for name in self.scores if self.benchmarks[name].type == kind and name not in self.transfer]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The merged model that represents the run, and the dev score it was chosen by."""

    model: str
    dev: float


def read_results(summary: EvaluationSummary, train_sources: Iterable[str]) -> Results:
    """Turn the summary of ``evaluate`` into a table, rows and columns in its order.

    A benchmark without a source does not count as transfer. If every benchmark were transfer, none is marked.
    """
    trained, order = set(train_sources), summary.benchmark_order
    rows = {model: [summary.models[model].get(name) for name in order] for model in summary.model_order}
    scores = pd.DataFrame.from_dict(rows, orient="index", columns=order, dtype="float64")
    sources = {name: summary.benchmarks[name].source for name in order}
    transfer = [name for name, source in sources.items() if source and source not in trained]
    return Results(scores=scores, benchmarks=summary.benchmarks, transfer=() if transfer == order else tuple(transfer))


def with_means(results: Results) -> pd.DataFrame:
    """Return the scores with their means, the sources trained on first.

    ``mean ir`` and ``mean sts`` are over the benchmarks trained on, ``mean both`` is the mean of the two, ``mean of
    tasks`` is the plain mean over the paper's benchmarks, and ``mean transfer`` is over the rest. A mean without
    benchmarks is left out; a mean over a missing score is NaN.
    """
    ir, sts, transfer = results.names("retrieval"), results.names("sts"), list(results.transfer)
    table = results.scores[ir + sts].copy()
    for name, columns in ((MEAN_IR, ir), (MEAN_STS, sts)):
        if columns:
            table[name] = results.scores[columns].mean(axis=1, skipna=False)
    if ir and sts:
        table[MEAN_BOTH] = (table[MEAN_IR] + table[MEAN_STS]) / 2
    if results.paper:
        table[MEAN_TASKS] = results.scores[results.paper].mean(axis=1, skipna=False)
    for name in transfer:
        table[name] = results.scores[name]
    if transfer:
        table[MEAN_TRANSFER] = results.scores[transfer].mean(axis=1, skipna=False)
    return table


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """Return each row minus the row of base; all NaN when base was not evaluated."""
    base = table.loc[BASE] if BASE in table.index else pd.Series(float("nan"), index=table.columns)
    return table - base


def best_of_each_column(table: pd.DataFrame) -> pd.DataFrame:
    """Return true where a score equals the highest of its column at the decimals shown."""
    shown = table.round(DECIMALS)
    return shown.eq(shown.max(axis=0), axis=1)


def results_table(results: Results) -> pd.DataFrame:
    """Return the table of results.csv: model, benchmark, type, metric, score, difference_to_base."""
    change = differences(results.scores)
    rows = [
        (model, name, results.benchmarks[name].type, results.benchmarks[name].metric,
         results.scores.at[model, name], change.at[model, name])
        for model in results.scores.index
        for name in results.scores.columns
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["model", "benchmark", "type", "metric", "score", "difference_to_base"]).round(6)


def metric_label(metric: str) -> str:
    """Return a metric's usual name."""
    return METRIC_LABELS.get(metric, metric)


def choose_merged(merged: MergeSummary, results: Results) -> Choice:
    """Return the evaluated merged model with the highest dev score; the first one if several are equal.

    Test scores play no part: choosing on the scores that are reported would flatter them.

    Raises:
        AbsentError: no merged model was evaluated.
    """
    devs = {merged_name(recipe): merged.methods[recipe].dev for recipe in merged.order}
    known = {model: dev for model, dev in devs.items() if model in results.scores.index}
    if not known:
        raise AbsentError("No merged model was evaluated; evaluate.models in params.yaml lists the models.")
    best = max(known, key=known.__getitem__)
    return Choice(model=best, dev=known[best])


def dev_scores(merged: MergeSummary | None) -> dict[str, float]:
    """Return the dev score of every checkpoint and merged model that ``merge`` lists."""
    if merged is None:
        return {}
    scores = {candidate.name: candidate.dev for candidate in merged.candidates}
    return scores | {merged_name(recipe): merged.methods[recipe].dev for recipe in merged.order}


def headline_metrics(results: Results, choice: Choice) -> dict[str, float]:
    """Return at most eight numbers for ``dvc metrics``, without those that are unknown.

    ``ir_<metric>``, ``sts_<metric>`` and ``mean`` are the chosen model's means over the benchmarks whose sources were
    trained on; ``*_gain`` are their differences to base; ``transfer`` and ``transfer_gain`` cover the other benchmarks.
    Without transfer, ``mean_of_<n>`` and its gain cover the ``n`` evaluated benchmarks of the paper.
    """
    table = with_means(results)
    change = differences(table)
    metrics = {
        kind: results.benchmarks[names[0]].metric for kind in ("retrieval", "sts") if (names := results.names(kind))
    }
    names = {
        MEAN_IR: (f"ir_{metrics.get('retrieval')}", "ir_gain"),
        MEAN_STS: (f"sts_{metrics.get('sts')}", "sts_gain"),
        MEAN_BOTH: ("mean", "mean_gain"),
        MEAN_TRANSFER: ("transfer", "transfer_gain"),
    }
    if MEAN_TRANSFER not in table:
        names[MEAN_TASKS] = (f"mean_of_{len(results.paper)}", f"mean_of_{len(results.paper)}_gain")
    numbers: dict[str, float] = {}
    for column, (score, gain) in names.items():
        if column in table:
            numbers[score] = float(table.at[choice.model, column])
            numbers[gain] = float(change.at[choice.model, column])
    return {name: round(number, 6) for name, number in numbers.items() if math.isfinite(number)}


def published_rows(results: Results) -> pd.DataFrame:
    """Return the published scores and their means under the columns of ``with_means``; no row if none applies.

    A benchmark that was not run on its full data is NaN.
    """
    full = [name for name in results.paper if results.benchmarks[name].full]
    scores = pd.DataFrame(float("nan"), index=list(PUBLISHED) if full else [], columns=results.scores.columns)
    for name in full:
        scores[name] = pd.Series(BENCHMARKS[name].published) / 100
    return with_means(replace(results, scores=scores))


def published_notes(results: Results) -> list[str]:
    """Return sentences on the origin of the published scores, and on those that are not shown."""
    full = [name for name in results.paper if results.benchmarks[name].full]
    other = [name for name in results.paper if name not in full]
    notes = []
    if full:
        notes.append(
            f"Published: the scores of {listed(list(PUBLISHED))} in mteb's results repository, for every benchmark "
            f"that was run on all of its rows."
        )
    if other:
        sizes = "; ".join(f"{name}: {_sizes(results, name)}" for name in other)
        notes.append(
            f"No published scores are shown for {listed(other)}, because the full benchmark was not run ({sizes})."
        )
    return notes


def _sizes(results: Results, name: str) -> str:
    found = results.benchmarks[name].size
    return ", ".join(
        f"{count(found.get(what))} of {count(full)} {what}" for what, full in BENCHMARKS[name].size.items()
    )
