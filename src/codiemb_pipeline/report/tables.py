"""Scores as tables: models by benchmarks, means, differences to base, the best of each column.

Knows the summary that ``evaluate`` writes; knows nothing of pages, colours or which model was chosen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

BASE = "base"
DECIMALS = 3
"""Scores are shown, and called equal, at this many decimals."""

MEAN_IR, MEAN_STS, MEAN_BOTH, MEAN_TRANSFER = "mean ir", "mean sts", "mean both", "mean transfer"
MEAN_TASKS = "mean of tasks"
METRIC_WORDS = {"ndcg_at_10": "nDCG@10", "cosine_spearman": "Spearman"}


@dataclass(frozen=True, kw_only=True)
class Results:
    """Every model's main score on every benchmark.

    Attributes:
        scores: (models, benchmarks), nDCG in [0, 1] or Spearman in [-1, 1]; NaN where a score is missing.
        benchmarks: by name: type, metric, source, split, size; the paper's have ``hub_id`` and ``full``, no source.
        transfer: names of the benchmarks whose source was not trained on.
    """

    scores: pd.DataFrame
    benchmarks: dict[str, dict[str, Any]]
    transfer: tuple[str, ...]

    @property
    def paper(self) -> list[str]:
        """The names of the paper's benchmarks."""
        return [str(name) for name in self.scores if "hub_id" in self.benchmarks[name]]

    def names(self, kind: str) -> list[str]:
        """Return the benchmarks of type ``retrieval`` or ``sts`` whose source was trained on."""
        return [name for name in self.scores if self.benchmarks[name]["type"] == kind and name not in self.transfer]


def read_results(summary: dict[str, Any], train_sources: Iterable[str]) -> Results:
    """Turn the summary of ``evaluate`` into a table, rows and columns in its order.

    A benchmark that names no source is not called transfer: nobody knows. If all were transfer, there would be nothing
    to tell apart, and none is called so.
    """
    benchmarks, trained = summary["benchmarks"], set(train_sources)
    order = summary["benchmark_order"]
    rows = {model: [summary["models"][model].get(name) for name in order] for model in summary["model_order"]}
    scores = pd.DataFrame.from_dict(rows, orient="index", columns=order, dtype="float64")
    transfer = [name for name in order if benchmarks[name].get("source") and benchmarks[name]["source"] not in trained]
    return Results(scores=scores, benchmarks=benchmarks, transfer=() if transfer == order else tuple(transfer))


def with_means(results: Results) -> pd.DataFrame:
    """Return the scores, the sources trained on first, with the means that there are benchmarks for.

    ``mean ir`` and ``mean sts`` are over the benchmarks trained on, ``mean both`` is the mean of the two, ``mean of
    tasks`` is over the paper's benchmarks, each counting alike, and ``mean transfer`` is over the rest. A mean over a
    missing score is missing.
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
    """Return each row less that of base; all NaN when base was not evaluated."""
    base = table.loc[BASE] if BASE in table.index else pd.Series(float("nan"), index=table.columns)
    return table - base


def best_of_each_column(table: pd.DataFrame) -> pd.DataFrame:
    """Return true where a score equals the highest of its column, as far as its decimals are shown."""
    shown = table.round(DECIMALS)
    return shown.eq(shown.max(axis=0), axis=1)


def results_table(results: Results) -> pd.DataFrame:
    """Return results.csv: model, benchmark, type, metric, score, difference_to_base; a row per model and benchmark."""
    change = differences(results.scores)
    rows = [
        {
            "model": model,
            "benchmark": name,
            "type": results.benchmarks[name]["type"],
            "metric": results.benchmarks[name]["metric"],
            "score": results.scores.at[model, name],
            "difference_to_base": change.at[model, name],
        }
        for model in results.scores.index
        for name in results.scores.columns
    ]
    return pd.DataFrame(rows, columns=["model", "benchmark", "type", "metric", "score", "difference_to_base"]).round(6)


def metric_word(metric: str) -> str:
    """Return a metric's name as people write it."""
    return METRIC_WORDS.get(metric, metric)
