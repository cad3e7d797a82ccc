"""Charts of training: losses, their parts, pace, dev scores. From the curves that ``train`` wrote to SVG."""

from __future__ import annotations

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from codiemb_pipeline.report.figures_style import (
    BOTH,
    GRID,
    HEIGHT,
    IR,
    IR_PALE,
    PLUM,
    SMALL,
    STONE,
    STS,
    STS_PALE,
    WIDTH,
    chart,
    name_ends,
    to_svg,
)

TASK_COLOURS = {"ir": (IR, IR_PALE), "sts": (STS, STS_PALE)}
TASK_WORDS = {"ir": "retrieval", "sts": "similarity"}


def loss_chart(curve: pd.DataFrame, column: str, task: str, *, small: bool = False) -> Markup:
    """Draw one loss over steps: every logged value pale, their running mean strong, epochs as faint uprights."""
    strong, pale = TASK_COLOURS[task]
    with chart(SMALL if small else (WIDTH, HEIGHT)) as (figure, axes):
        axes.plot(curve["step"], curve[column], color=pale, linewidth=0.9)
        axes.plot(curve["step"], running_mean(curve[column]), color=strong)
        _mark_epochs(axes, curve)
        _finish(axes)
        return to_svg(figure, f"{task}-{column}", f"{column} of {TASK_WORDS[task]} over training steps")


def compare_chart(curves: dict[str, pd.DataFrame], column: str, *, share: bool = False) -> Markup:
    """Draw ``column`` of both tasks over steps; a ``share`` of one is written as per cent."""
    with chart(SMALL) as (figure, axes):
        ends = []
        for task, curve in curves.items():
            strong, pale = TASK_COLOURS[task]
            values = running_mean(curve[column])
            axes.plot(curve["step"], curve[column], color=pale, linewidth=0.9)
            axes.plot(curve["step"], values, color=strong)
            ends.append((float(values.iloc[-1]), TASK_WORDS[task], strong))
        axes.set_ylim(bottom=0)
        _finish(axes)
        axes.yaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{100 * value:g}%" if share else f"{value:,.0f}")
        )
        name_ends(axes, ends)
        return to_svg(figure, f"pace-{column}", f"{column} of both tasks over training steps")


def learning_rate_chart(curves: dict[str, pd.DataFrame]) -> Markup:
    """Draw the learning rate over the steps of all tasks together: it is one schedule."""
    joined = pd.concat([curve[["step", "learning_rate"]] for curve in curves.values()])
    joined = joined.drop_duplicates("step").sort_values("step")
    with chart(SMALL) as (figure, axes):
        axes.plot(joined["step"], joined["learning_rate"], color=PLUM)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("e-0", "e-")))
        _finish(axes)
        return to_svg(figure, "pace-learning-rate", "learning rate over training steps")


def dev_chart(dev: pd.DataFrame) -> Markup:
    """Draw the dev scores of both tasks and their mean at every checkpoint."""
    lines = [("ir", "retrieval", IR, "o"), ("sts", "similarity", STS, "D"), ("mean", "mean", BOTH, "s")]
    return _dev_lines(dev, [line for line in lines if line[0] in dev and dev[line[0]].notna().any()], "dev-tasks")


def dev_metrics_chart(dev: pd.DataFrame, columns: list[str], metric: str) -> Markup:
    """Draw single dev metrics, such as ``semanlink/ndcg_at_10``, at every checkpoint; named by their sources."""
    colours = [IR, STS, PLUM, "#00776c", "#8a6d00", STONE]
    markers = "oDs^vP"
    lines = [(name, name.split("/")[0], colours[i % 6], markers[i % 6]) for i, name in enumerate(columns)]
    return _dev_lines(dev, lines, f"dev-{metric}")


def _dev_lines(dev: pd.DataFrame, lines: list[tuple[str, str, str, str]], name: str) -> Markup:
    with chart() as (figure, axes):
        for column, _, colour, marker in lines:
            axes.plot(dev["step"], dev[column], color=colour, marker=marker, markeredgecolor="white")
        _finish(axes)
        if len(dev) <= 8:
            axes.set_xticks(dev["step"])
        name_ends(axes, [(float(dev[column].iloc[-1]), word, colour) for column, word, colour, _ in lines])
        return to_svg(figure, name, "dev scores at checkpoints: " + ", ".join(line[1] for line in lines))


def running_mean(values: pd.Series) -> pd.Series:
    """Return the centred mean over a tenth of the values (three at least), shorter at both ends."""
    return values.rolling(max(3, len(values) // 10), center=True, min_periods=1).mean()


def _mark_epochs(axes: Axes, curve: pd.DataFrame) -> None:
    if "epoch" not in curve:
        return
    epoch = np.floor(curve["epoch"].to_numpy())
    for place in np.flatnonzero(np.diff(epoch)):
        axes.axvline(
            (curve["step"].iloc[place] + curve["step"].iloc[place + 1]) / 2, color=GRID, linewidth=0.8, zorder=0
        )


def _finish(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel("step")
