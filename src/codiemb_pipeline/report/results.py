"""Scores: tables with means and differences to base, the model that represents the run, summary and section of them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import pandas as pd

from codiemb_pipeline.artifacts.evaluate import BenchmarkFacts, EvaluationSummary, Kind
from codiemb_pipeline.artifacts.merge import MergeSummary, merged_name
from codiemb_pipeline.benchmarks.registry import BENCHMARKS, METRICS, PUBLISHED, names_of
from codiemb_pipeline.report.figures import SYMBOLS, gains_chart, looks_of
from codiemb_pipeline.report.formats import (
    DECIMALS,
    METRIC_LABELS,
    count,
    direction,
    listed,
    number,
    short_step,
    signed,
)
from codiemb_pipeline.report.inputs import AbsentError

BASE = "base"
MEAN_IR, MEAN_STS, MEAN_BOTH, MEAN_TRANSFER = "mean ir", "mean sts", "mean both", "mean transfer"
MEAN_TASKS = "mean of tasks"
MEAN_LABELS = {MEAN_IR: "retrieval", MEAN_STS: "similarity", MEAN_BOTH: "both", MEAN_TASKS: "all",
               MEAN_TRANSFER: "transfer"}  # fmt: skip


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

    @cached_property
    def table(self) -> pd.DataFrame:
        """The scores with their means, the sources trained on first.

        ``mean ir`` and ``mean sts`` are over the benchmarks trained on, ``mean both`` is the mean of the two, ``mean of
        tasks`` is the plain mean over the paper's benchmarks, and ``mean transfer`` is over the rest. A mean without
        benchmarks is left out; a mean over a missing score is NaN.
        """
        ir, sts, transfer = self.names("retrieval"), self.names("sts"), list(self.transfer)
        table = self.scores[ir + sts].copy()
        for name, columns in ((MEAN_IR, ir), (MEAN_STS, sts)):
            if columns:
                table[name] = self.scores[columns].mean(axis=1, skipna=False)
        if ir and sts:
            table[MEAN_BOTH] = (table[MEAN_IR] + table[MEAN_STS]) / 2
        if self.paper:
            table[MEAN_TASKS] = self.scores[self.paper].mean(axis=1, skipna=False)
        if transfer:
            table[transfer] = self.scores[transfer]
            table[MEAN_TRANSFER] = self.scores[transfer].mean(axis=1, skipna=False)
        return table

    @cached_property
    def change(self) -> pd.DataFrame:
        """Each row of ``table`` minus the row of base; all NaN when base was not evaluated."""
        return self.table - self.table.reindex([BASE]).iloc[0]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The recipe whose merged model represents the run, and the dev score it was chosen by."""

    recipe: str
    dev: float

    @property
    def model(self) -> str:
        """The name of the merged model."""
        return merged_name(self.recipe)


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


def results_table(results: Results | None) -> pd.DataFrame:
    """Return the table of results.csv, a row for each model and benchmark."""
    columns = ["model", "benchmark", "type", "metric", "score", "difference_to_base"]
    if results is None:
        return pd.DataFrame(columns=columns)
    rows = [
        (model, name, results.benchmarks[name].type, results.benchmarks[name].metric,
         results.scores.at[model, name], results.change.at[model, name])
        for model in results.scores.index
        for name in results.scores.columns
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns).round(6)


def choose_merged(merged: MergeSummary, results: Results) -> Choice:
    """Return the evaluated merged model with the highest dev score; the first one if several are equal.

    Test scores play no part: choosing on the scores that are reported would flatter them.

    Raises:
        AbsentError: no merged model was evaluated.
    """
    evaluated = [recipe for recipe in merged.order if merged_name(recipe) in results.scores.index]
    if not evaluated:
        raise AbsentError("No merged model was evaluated; evaluate.models in params.yaml lists the models.")
    best = max(evaluated, key=lambda recipe: merged.methods[recipe].dev)
    return Choice(recipe=best, dev=merged.methods[best].dev)


def dev_scores(merged: MergeSummary) -> dict[str, float]:
    """Return the dev score of every checkpoint and merged model that ``merge`` lists."""
    scores = {candidate.name: candidate.dev for candidate in merged.candidates}
    return scores | {merged_name(recipe): merged.methods[recipe].dev for recipe in merged.order}


def headline_metrics(results: Results, choice: Choice) -> dict[str, float]:
    """Return at most eight numbers for ``dvc metrics``, without those that are unknown.

    ``ir_<metric>``, ``sts_<metric>`` and ``mean`` are the chosen model's means over the benchmarks whose sources were
    trained on; ``*_gain`` are their differences to base; ``transfer`` and ``transfer_gain`` cover the other benchmarks.
    Without transfer, ``mean_of_<n>`` and its gain cover the ``n`` evaluated benchmarks of the paper.
    """
    names = {
        MEAN_IR: (f"ir_{METRICS['retrieval']}", "ir_gain"),
        MEAN_STS: (f"sts_{METRICS['sts']}", "sts_gain"),
        MEAN_BOTH: ("mean", "mean_gain"),
        MEAN_TRANSFER: ("transfer", "transfer_gain"),
    }
    if not results.transfer:
        names[MEAN_TASKS] = (f"mean_of_{len(results.paper)}", f"mean_of_{len(results.paper)}_gain")
    numbers: dict[str, float] = {}
    for column, (score, gain) in names.items():
        if column in results.table:
            numbers[score] = float(results.table.at[choice.model, column])
            numbers[gain] = float(results.change.at[choice.model, column])
    return {name: round(number, 6) for name, number in numbers.items() if math.isfinite(number)}


class Tile(NamedTuple):
    """One large number at the top of the page: a mean of the chosen model and of base."""

    label: str
    metric: str
    over: str
    base: float | None
    score: float
    gain: float | None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The top of the page: the chosen model compared with base."""

    headline: str
    sentences: list[str]
    tiles: list[Tile]


def summarise(results: Results, choice: Choice, merged: MergeSummary) -> Summary:
    """Return the summary of ``choice``."""
    has_base = BASE in results.table.index
    tiles = []
    for label, column, names in (
        ("Retrieval", MEAN_IR, results.names("retrieval")),
        ("Similarity", MEAN_STS, results.names("sts")),
        ("Transfer", MEAN_TRANSFER, list(results.transfer)),
    ):
        if names:
            metrics = dict.fromkeys(METRIC_LABELS[results.benchmarks[name].metric] for name in names)
            tiles.append(Tile(
                label=label,
                metric=listed(list(metrics)),
                over=listed(names) if len(names) < 4 else f"mean of {len(names)} benchmarks",
                base=float(results.table.at[BASE, column]) if has_base else None,
                score=float(results.table.at[choice.model, column]),
                gain=float(results.change.at[choice.model, column]) if has_base else None,
            ))  # fmt: skip
    change = results.change.loc[choice.model]
    sentences = [_comparison(tiles, choice), _transfer(change, results.transfer)] if has_base else []
    sentences += [_test_best(results.table, choice), _checkpoint(merged, choice)]
    return Summary(
        headline=_headline(change) if has_base else "Base was not evaluated",
        sentences=[sentence for sentence in sentences if sentence],
        tiles=tiles,
    )


def _headline(change: pd.Series) -> str:
    tasks = {"retrieval": MEAN_IR, "similarity": MEAN_STS}
    ways = {task: direction(change[column]) for task, column in tasks.items() if column in change}
    if set(ways.values()) <= {"same"}:
        return "Neither better nor worse than base"
    parts = []
    for way, words in {"up": "better than base at", "down": "worse than base at", "same": "unchanged at"}.items():
        names = [task for task in ways if ways[task] == way]
        if names:
            parts.append(f"{words} {'both tasks' if len(names) == 2 else names[0]}")
    return ", ".join(parts).capitalize()


def _comparison(tiles: list[Tile], choice: Choice) -> str:
    parts = [
        f"{tile.metric} {signed(tile.gain)} in {tile.label.lower()} ({number(tile.base)} → {number(tile.score)})"
        for tile in tiles
        if tile.label != "Transfer"
    ]
    return f"{choice.model} compared with base: {listed(parts)}." if parts else ""


def _transfer(change: pd.Series, transfer: tuple[str, ...]) -> str:
    if not transfer:
        return ""
    amount, way = number(abs(change[MEAN_TRANSFER])), direction(change[MEAN_TRANSFER])
    change_words = {"up": f"gains {amount}", "down": f"loses {amount}", "same": "neither gains nor loses"}[way]
    average = " on average" if len(transfer) > 1 else ""
    each = listed([f"{name} {signed(change[name])}" for name in transfer])
    return f"On sources not used in training it {change_words}{average}: {each}."


def _test_best(table: pd.DataFrame, choice: Choice) -> str:
    """Report another model that scores higher on the test sets than the one chosen on dev."""
    column = next((name for name in (MEAN_BOTH, MEAN_IR, MEAN_STS) if name in table), None)
    if column is None:
        return ""
    ahead = table[column] - table.at[choice.model, column]
    best = str(ahead.idxmax())
    if direction(ahead[best]) != "up":
        return ""
    return f"On the test sets {short_step(best)} scores {number(ahead[best])} higher, but the model was chosen on dev."


def _checkpoint(merged: MergeSummary, choice: Choice) -> str:
    """Compare the dev score with that of the best single checkpoint."""
    best = merged.best_checkpoint
    gain, name = choice.dev - best.dev, short_step(best.name)
    if direction(gain) == "same":
        return f"Its dev score equals that of the best single checkpoint, {name} ({number(best.dev)})."
    word, lesson = ("above", "") if gain > 0 else ("below", "; merging did not help here")
    score = f"Its dev score, {number(choice.dev)}, is {number(abs(gain))} {word}"
    return f"{score} that of the best single checkpoint, {name}{lesson}."


def results_content(results: Results, choice: Choice | None, merged: MergeSummary | None) -> dict[str, Any]:
    """Return the columns and rows of the result table, and the chart of differences to base.

    A cell is (score, difference to base or ``None``, whether it is the best of its column). Published scores have no
    difference and are never the best.
    """
    published = published_rows(results)
    table = pd.concat([results.table, published])
    change = results.change.drop(index=BASE, errors="ignore").reindex(table.index).astype(object)
    change = change.where(change.notna(), None)
    best = best_of_each_column(results.table) & (len(results.table) > 1)
    best = best.reindex(table.index, fill_value=False)
    roles = {BASE: "base"} | dict.fromkeys(published.index, "published")
    if choice:
        roles[choice.model] = "chosen"
    devs = dev_scores(merged) if merged else {}
    rows = [
        {"model": model, "role": roles.get(model, ""), "dev": devs.get(model),
         "cells": list(zip(table.loc[model], change.loc[model], best.loc[model], strict=True))}
        for model in table.index
    ]  # fmt: skip
    return {
        "columns": [_column(name, results) for name in table],
        "rows": rows,
        "has_dev": bool(devs),
        "transfer": results.transfer,
        "published": list(published.index),
        "cut": _cut_sizes(results),
        **_gains(results),
    }


def best_of_each_column(table: pd.DataFrame) -> pd.DataFrame:
    """Return true where a score equals the highest of its column at the decimals shown."""
    shown = table.round(DECIMALS)
    return shown.eq(shown.max(axis=0), axis=1)


def published_rows(results: Results) -> pd.DataFrame:
    """Return the published scores and their means under the columns of ``table``; no row if none applies.

    A benchmark that was not run on its full data is NaN.
    """
    full = [name for name in results.paper if results.benchmarks[name].full]
    scores = pd.DataFrame(float("nan"), index=list(PUBLISHED) if full else [], columns=results.scores.columns)
    for name in full:
        scores[name] = pd.Series(BENCHMARKS[name].published) / 100
    return replace(results, scores=scores).table


def _cut_sizes(results: Results) -> dict[str, str]:
    """Return how much was run of those of the paper's benchmarks that were not run on their full data."""
    cut = {name: results.benchmarks[name].size for name in results.paper if not results.benchmarks[name].full}
    return {
        name: ", ".join(f"{count(size.get(of))} of {count(full)} {of}" for of, full in BENCHMARKS[name].size.items())
        for name, size in cut.items()
    }


def _column(name: str, results: Results) -> dict[str, Any]:
    """Return the heading of a column: two lines, its classes, and the benchmark's size."""
    classes = {
        "mean": name in MEAN_LABELS,
        "transfer": name in (*results.transfer, MEAN_TRANSFER),
        "first": name in results.transfer[:1],
    }
    css = " ".join(word for word, holds in classes.items() if holds)
    if name in MEAN_LABELS:
        return {"label": "Mean", "below": _mean_label(name, results), "css": css, "size": ""}
    benchmark = results.benchmarks[name]
    size = ", ".join(f"{count(amount)} {what}" for what, amount in benchmark.size.items())
    return {"label": name, "below": METRIC_LABELS[benchmark.metric], "css": css, "size": size}


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
    """Return the chart of differences to base, and the colour and symbol of each of its models."""
    names = [*results.names("retrieval"), *results.names("sts"), *results.transfer]
    change = results.change[names].drop(index=BASE, errors="ignore")
    if BASE not in results.scores.index or change.empty:
        return {"gains": None, "looks": {}}
    shown = change.rename(columns={name: f"{name} (transfer)" for name in results.transfer})
    looks = {model: (colour, SYMBOLS[marker]) for model, (colour, marker) in looks_of(change.index).items()}
    return {"gains": gains_chart(shown), "looks": looks}
