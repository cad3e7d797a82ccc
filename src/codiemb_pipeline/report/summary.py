"""The summary at the top of the page: the chosen merged model compared with base, better or worse."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from codiemb_pipeline.artifacts.merge import MergeSummary
from codiemb_pipeline.report.figures import short_step
from codiemb_pipeline.report.formats import direction, listed, number, signed
from codiemb_pipeline.report.results import (
    BASE,
    MEAN_BOTH,
    MEAN_IR,
    MEAN_STS,
    MEAN_TRANSFER,
    Choice,
    Results,
    differences,
    metric_label,
    with_means,
)


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One large number at the top of the page: a mean of the chosen model and of base."""

    label: str
    metric: str
    over: str
    base: float | None
    score: float
    gain: float | None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Headline, large numbers and sentences at the top of the page."""

    headline: str
    sentences: list[str]
    tiles: list[Tile]


def summarise(results: Results, choice: Choice, merged: MergeSummary) -> Summary:
    """Return the summary of ``choice``."""
    table = with_means(results)
    change = differences(table)
    has_base = BASE in table.index
    tiles = [
        Tile(
            label=label,
            metric=listed(list(dict.fromkeys(metric_label(results.benchmarks[name].metric) for name in names))),
            over=listed(names) if len(names) < 4 else f"mean of {len(names)} benchmarks",
            base=float(table.at[BASE, column]) if has_base else None,
            score=float(table.at[choice.model, column]),
            gain=float(change.at[choice.model, column]) if has_base else None,
        )
        for label, column, names in (
            ("Retrieval", MEAN_IR, results.names("retrieval")),
            ("Similarity", MEAN_STS, results.names("sts")),
            ("Transfer", MEAN_TRANSFER, list(results.transfer)),
        )
        if column in table
    ]
    sentences = [_comparison(tiles, choice), _transfer(results, change, choice), _test_best(table, choice),
                 _checkpoint(merged, choice)]  # fmt: skip
    return Summary(
        headline=_headline(change.loc[choice.model]) if has_base else "Base was not evaluated",
        sentences=[sentence for sentence in sentences if sentence],
        tiles=tiles,
    )


def _headline(change: pd.Series) -> str:
    tasks = {"retrieval": MEAN_IR, "similarity": MEAN_STS}
    ways = {task: direction(change[column]) for task, column in tasks.items() if column in change}
    up, down, same = ([task for task, way in ways.items() if way == wanted] for wanted in ("up", "down", "same"))
    if not up and not down:
        return "Neither better nor worse than base"
    words = (("better than base at", up), ("worse than base at", down), ("unchanged at", same))
    parts = [f"{word} {'both tasks' if len(names) == 2 else names[0]}" for word, names in words if names]
    return ", ".join(parts).capitalize()


def _comparison(tiles: list[Tile], choice: Choice) -> str:
    parts = [
        f"{tile.metric} {signed(tile.gain)} in {tile.label.lower()} ({number(tile.base)} → {number(tile.score)})"
        for tile in tiles
        if tile.label != "Transfer"
    ]
    return f"{choice.model} compared with base: {listed(parts)}." if parts and tiles[0].gain is not None else ""


def _transfer(results: Results, change: pd.DataFrame, choice: Choice) -> str:
    if not results.transfer or BASE not in change.index:
        return ""
    row = change.loc[choice.model]
    amount = number(abs(row[MEAN_TRANSFER]))
    change_word = {"up": f"gains {amount}", "down": f"loses {amount}", "same": "neither gains nor loses"}
    each = listed([f"{name} {signed(row[name])}" for name in results.transfer])
    average = " on average" if len(results.transfer) > 1 else ""
    return f"On sources not used in training it {change_word[direction(row[MEAN_TRANSFER])]}{average}: {each}."


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
    gain = choice.dev - best.dev
    name = short_step(best.name)
    if direction(gain) == "same":
        return f"Its dev score equals that of the best single checkpoint, {name} ({number(best.dev)})."
    word = "above" if gain > 0 else "below"
    lesson = "" if gain > 0 else "; merging did not help here"
    score = f"Its dev score, {number(choice.dev)}, is {number(abs(gain))} {word}"
    return f"{score} that of the best single checkpoint, {name}{lesson}."
