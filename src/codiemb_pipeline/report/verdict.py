"""The verdict in plain words: the chosen merged model against base, also when it lost.

From tables to sentences; knows nothing of files or of the page.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from codiemb_pipeline.artifacts.merge import MergeSummary
from codiemb_pipeline.report.figures import short_step
from codiemb_pipeline.report.formats import direction, listed, number, signed
from codiemb_pipeline.report.metrics import Choice
from codiemb_pipeline.report.tables import (
    BASE,
    MEAN_BOTH,
    MEAN_IR,
    MEAN_STS,
    MEAN_TRANSFER,
    Results,
    differences,
    metric_word,
    with_means,
)


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One large number of the page's head: a mean of the chosen model, and of base."""

    label: str
    metric: str
    over: str
    base: float | None
    score: float
    gain: float | None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the page says first."""

    headline: str
    sentences: list[str]
    tiles: list[Tile]


def judge(results: Results, choice: Choice, merged: MergeSummary) -> Verdict:
    """Return the verdict on ``choice``."""
    table = with_means(results)
    change = differences(table)
    has_base = BASE in table.index
    tiles = [
        Tile(
            label=label,
            metric=_metric(results, names),
            over=listed(names) if len(names) < 4 else f"mean of {len(names)} benchmarks",
            base=float(table.at[BASE, column]) if has_base else None,
            score=float(table.at[choice.model, column]),
            gain=float(change.at[choice.model, column]) if has_base else None,
        )
        for label, column, names in _means(results)
        if column in table
    ]
    sentences = [_comparison(tiles, choice), _transfer(results, change, choice), _test_best(table, choice),
                 _checkpoint(merged, choice)]  # fmt: skip
    return Verdict(
        headline=_headline(change.loc[choice.model]) if has_base else "Base was not evaluated: nothing to compare with",
        sentences=[sentence for sentence in sentences if sentence],
        tiles=tiles,
    )


def _means(results: Results) -> list[tuple[str, str, list[str]]]:
    return [
        ("Retrieval", MEAN_IR, results.names("retrieval")),
        ("Similarity", MEAN_STS, results.names("sts")),
        ("Transfer", MEAN_TRANSFER, list(results.transfer)),
    ]


def _metric(results: Results, names: list[str]) -> str:
    return listed(list(dict.fromkeys(metric_word(results.benchmarks[name]["metric"]) for name in names)))


def _headline(change: pd.Series) -> str:
    """Name what went up and what went down, in a few words."""
    tasks = {"retrieval": MEAN_IR, "similarity": MEAN_STS}
    ways = {task: direction(change[column]) for task, column in tasks.items() if column in change}
    up, down, same = ([task for task, way in ways.items() if way == wanted] for wanted in ("up", "down", "same"))
    if not up and not down:
        text = "No better and no worse than base"
    else:
        parts = [f"{word} at {listed(names)}" for word, names in (("better", up), ("worse", down)) if names]
        parts += [f"unchanged at {listed(same)}"] if same else []
        text = ", ".join(parts) + " than base"
    text = text.replace("better at retrieval and similarity than base", "better at both tasks than base")
    text = text.replace("worse at retrieval and similarity than base", "worse at both tasks than base")
    return text[0].upper() + text[1:]


def _comparison(tiles: list[Tile], choice: Choice) -> str:
    parts = [
        f"{tile.metric} {signed(tile.gain)} in {tile.label.lower()} ({number(tile.base)} → {number(tile.score)})"
        for tile in tiles
        if tile.label != "Transfer"
    ]
    return f"{choice.model} against base: {listed(parts)}." if parts and tiles[0].gain is not None else ""


def _transfer(results: Results, change: pd.DataFrame, choice: Choice) -> str:
    if not results.transfer or BASE not in change.index:
        return ""
    row = change.loc[choice.model]
    way = {"up": "gains", "down": "loses", "same": "neither gains nor loses"}[direction(row[MEAN_TRANSFER])]
    amount = f" {number(abs(row[MEAN_TRANSFER]))}" if way != "neither gains nor loses" else ""
    each = listed([f"{name} {signed(row[name])}" for name in results.transfer])
    average = " on average" if len(results.transfer) > 1 else ""
    return f"On sources never trained on it {way}{amount}{average}: {each}."


def _test_best(table: pd.DataFrame, choice: Choice) -> str:
    """Own up when another model scores higher on the test sets than the one chosen on dev."""
    column = next((name for name in (MEAN_BOTH, MEAN_IR, MEAN_STS) if name in table), None)
    if column is None:
        return ""
    ahead = table[column] - table.at[choice.model, column]
    best = str(ahead.idxmax())
    if direction(ahead[best]) != "up":
        return ""
    return f"On the test sets {short_step(best)} is ahead of it by {number(ahead[best])}; the choice was made on dev."


def _checkpoint(merged: MergeSummary, choice: Choice) -> str:
    """Say on dev whether merging paid, against the best single checkpoint."""
    best = merged.best_checkpoint
    gain = choice.dev - best.dev
    name = short_step(best.name)
    if direction(gain) == "same":
        return f"On dev it equals the best single checkpoint, {name} ({number(best.dev)})."
    word = "ahead of" if gain > 0 else "behind"
    lesson = "" if gain > 0 else ": merging did not pay here"
    return f"On dev ({number(choice.dev)}) it is {number(abs(gain))} {word} the best single checkpoint, {name}{lesson}."
