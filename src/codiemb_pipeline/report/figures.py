"""Charts of the page as SVG, from tables and artifacts.

One palette, which colour-blind readers can distinguish; where dots meet, shapes differ too. The same numbers give the
same bytes.
"""

import hashlib
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from codiemb_pipeline.artifacts.merge import Layer, merged_name
from codiemb_pipeline.artifacts.mine import CosineHistogram
from codiemb_pipeline.report.formats import TASK_WORDS, short_step

INK, GRID = "#1b2430", "#e4e8ed"
BLUE, ORANGE, GREEN, PLUM, OLIVE, STONE = "#0a5ea8", "#c4560d", "#00776c", "#7d4a9e", "#8a6d00", "#98a2ae"
TASK_COLOURS = {"ir": (BLUE, "#b9d2ea"), "sts": (ORANGE, "#f0cbb0")}
"""Of each task: strong and pale."""
WEIGHTS = LinearSegmentedColormap.from_list("weights", ["#f3f7f9", "#bcd9dc", "#5aa7a6", "#00776c", "#004a4b"])
STEPS = LinearSegmentedColormap.from_list("steps", ["#93a1b1", "#5b8fc0", "#0a5ea8", "#06305a"])
SYMBOLS = {"s": "■", "^": "▲", "o": "●", "D": "◆"}
"""Text that looks like a marker of matplotlib, for the key beside a chart."""

WIDTH, HEIGHT = 360, 216
"""A chart's natural size in CSS pixels: one of three columns of the page, or a phone's whole width."""
SMALL = (268, 168)
"""The same for one of four columns."""
_POINTS = 72
_ROW = 30
_STYLE = Path(__file__).with_name("chart.mplstyle")


class Chart(NamedTuple):
    """A chart with its caption."""

    title: str
    note: str
    svg: Markup


@contextmanager
def axes_of(width: int = WIDTH, height: int = HEIGHT) -> Iterator[Axes]:
    """Yield an empty chart in our style; draw on it and call ``to_svg`` inside the ``with`` block."""
    with mpl.rc_context(fname=_STYLE):
        figure = Figure(figsize=(width / _POINTS, height / _POINTS), layout="constrained")
        FigureCanvasSVG(figure)
        figure.get_layout_engine().set(w_pad=4 / _POINTS, h_pad=4 / _POINTS)
        yield figure.add_subplot()


def to_svg(axes: Axes, label: str) -> Markup:
    """Return the chart of ``axes`` as an ``<svg>`` element for a page; ``label`` is its text for screen readers."""
    buffer = io.StringIO()
    axes.figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    view_box = re.search(r'viewBox="[^"]+"', svg)[0]
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"\s*font-family: [^;\"]+;?", "", body)
    body = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", body).replace("xlink:href", "href")
    body = re.sub(r"<defs>\s*</defs>", "", re.sub(r"\s*\n\s*", " ", _own_ids(body)))
    return Markup(f'<svg {view_box} role="img" aria-label="{escape(label)}">{body.strip()}</svg>')


def _own_ids(body: str) -> str:
    """Drop unused ids and prefix the others with a hash of the chart, so that they are unique on the page."""
    used = set(re.findall(r'href="#([^"]+)"', body)) | set(re.findall(r"url\(#([^)]+)\)", body))
    body = re.sub(r' id="([^"]*)"', lambda hit: hit[0] if hit[1] in used else "", body)
    return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>c{hashlib.sha256(body.encode()).hexdigest()[:8]}-", body)


def name_ends(axes: Axes, ends: Iterable[tuple[float, str, str]], *, size: float = 10.5) -> None:
    """Write the names of lines at their right ends, shifted where they would overlap.

    Args:
        axes: with final limits.
        ends: (height in data units, name, colour) of each line.
        size: font size in pixels.
    """
    low, high = axes.get_ylim()
    gap = (size * 1.25) / (axes.figure.get_figheight() * _POINTS * 0.8)
    placed: list[float] = []
    entries = sorted(ends)
    for height, _, _ in entries:
        share = (height - low) / (high - low) if high > low else 0.5
        placed.append(max(share, placed[-1] + gap) if placed else share)
    overflow = max(0.0, placed[-1] - 1.0) if placed else 0.0
    for height, (_, name, colour) in zip(placed, entries, strict=True):
        axes.annotate(
            name, (1.0, height - overflow), xycoords="axes fraction", xytext=(5, 0), textcoords="offset points",
            color=colour, va="center", size=size, annotation_clip=False,
        )  # fmt: skip


def looks_of(models: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return colour and marker of each model: merged models differ, checkpoints look alike."""
    looks = zip(itertools.cycle((BLUE, PLUM, GREEN, OLIVE)), itertools.cycle("s^o"), strict=False)
    return {model: next(looks) if model.startswith(merged_name("")) else (STONE, "D") for model in models}


def gains_chart(change: pd.DataFrame) -> Markup:
    """Draw the difference of every model to base on every benchmark as a dot.

    Args:
        change: (models without base, benchmarks), drawn from top to bottom.
    """
    with axes_of(WIDTH, 70 + _ROW * change.shape[1]) as axes:
        offsets = np.linspace(-0.24, 0.24, len(change)) if len(change) > 1 else [0.0]
        for (model, (colour, marker)), offset in zip(looks_of(change.index).items(), offsets, strict=True):
            axes.plot(change.loc[model], np.arange(change.shape[1]) + offset, marker, color=colour,
                      markeredgecolor="white", markeredgewidth=0.7, markersize=7)  # fmt: skip
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(change.shape[1]), change.columns, color=INK)
        axes.set_ylim(change.shape[1] - 0.5, -0.5)
        axes.grid(axis="x")
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:+.2f}".replace("-", "−") if value else "base")
        )
        axes.spines["bottom"].set_visible(False)
        axes.margins(x=0.08)
        return to_svg(axes, "difference to base of each model on each benchmark")


def mining_chart(source: str, histogram: CosineHistogram) -> Markup:
    """Draw histograms of the similarity of positives, kept and dropped negatives to their queries, as shares."""
    edges, total, handles = np.asarray(histogram.edges), np.zeros(len(histogram.edges) - 1), []
    with axes_of() as axes:
        for group, colour, alpha in (("dropped", STONE, 0.30), ("kept", ORANGE, 0.30), ("positives", BLUE, 0.25)):
            counts = np.asarray(getattr(histogram, group), dtype=float)
            total += counts
            if counts.any():
                axes.stairs(counts / counts.sum(), edges, fill=True, color=colour, alpha=alpha)
                axes.stairs(counts / counts.sum(), edges, color=colour, linewidth=1.4)
                handles.append(Line2D([], [], color=colour, linewidth=5, label=f"{group} {int(counts.sum()):,}"))
        filled = np.flatnonzero(total)
        if len(filled):  # leave out the empty bins at both ends but one
            axes.set_xlim(edges[max(filled[0] - 1, 0)], edges[min(filled[-1] + 2, len(edges) - 1)])
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(_percent)
        axes.set_xlabel("cosine similarity to the query")
        axes.figure.legend(handles=handles[::-1], loc="outside upper left", ncols=3, frameon=False, handlelength=0.9,
                           handletextpad=0.5, columnspacing=1.1, borderpad=0, borderaxespad=0.2)  # fmt: skip
        return to_svg(axes, f"similarity of positives, kept and dropped negatives of {source}")


def merge_weights_chart(recipe: str, layers: list[Layer], candidates: list[str], top: float) -> Markup:
    """Draw the weight of each candidate (rows) in each layer (columns) as a heat map from 0 to ``top``.

    Every layer must have weights.
    """
    weights = np.array([[layer.weights.get(name, 0.0) for layer in layers] for name in candidates], dtype=float)
    with axes_of(WIDTH, 66 + 27 * len(candidates)) as axes:
        axes.pcolormesh(weights, cmap=WEIGHTS, vmin=0, vmax=top, edgecolors="white", linewidth=1.5)
        if len(layers) <= 9:
            for (row, column), weight in np.ndenumerate(weights):
                text = f"{weight:.2f}".removeprefix("0") if weight else "0"
                colour = INK if weight else STONE
                axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", size=9,
                          color="white" if weight > 0.55 * top else colour)  # fmt: skip
        axes.set_yticks(np.arange(len(candidates)) + 0.5, [short_step(name) for name in candidates])
        axes.invert_yaxis()
        _layer_axis(axes, layers, 0.5)
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0)
        return to_svg(axes, f"merge weights of {recipe} by layer and checkpoint")


def delta_norms_chart(layers: list[Layer], candidates: list[str]) -> Markup:
    """Draw how far each candidate moved from base in each layer; later candidates are darker.

    A line joins the numbered layers; the others (embeddings, pooler) are single dots.
    """
    numbered = np.array([layer.number is not None for layer in layers])
    with axes_of() as axes:
        ends = []
        for number, name in enumerate(candidates):
            norms = np.array([layer.delta_norms.get(name, np.nan) for layer in layers], dtype=float)
            colour = STEPS(number / max(len(candidates) - 1, 1))
            axes.plot(norms, "o", color=colour, markersize=3.5)
            axes.plot(np.flatnonzero(numbered), norms[numbered], color=colour)
            if number in (0, len(candidates) - 1) and np.isfinite(norms[-1]):
                ends.append((float(norms[-1]), short_step(name), colour))
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        _layer_axis(axes, layers, 0.0)
        name_ends(axes, ends)
        return to_svg(axes, "distance of each checkpoint from base, by layer")


def _layer_axis(axes: Axes, layers: list[Layer], offset: float) -> None:
    short = {"embeddings": "emb.", "pooler": "pool."}
    every = -(-len(layers) // 10)
    shown = [
        short.get(layer.label, layer.label) if layer.number is None or layer.number % every == 0 else ""
        for layer in layers
    ]
    axes.set_xticks(np.arange(len(layers)) + offset, shown)
    axes.set_xlabel("layer")


def loss_chart(curve: pd.DataFrame, column: str, task: str, *, small: bool = False) -> Markup:
    """Draw one loss over steps: logged values pale, their running mean strong, ends of epochs as vertical lines."""
    with axes_of(*SMALL) if small else axes_of() as axes:
        _curve(axes, curve, column, task)
        epochs = np.floor(curve["epoch"]) if "epoch" in curve else np.zeros(len(curve))
        for last in np.flatnonzero(np.diff(epochs)):
            axes.axvline(curve["step"][last : last + 2].mean(), color=GRID, linewidth=0.8, zorder=0)
        _finish(axes)
        return to_svg(axes, f"{column} of {TASK_WORDS[task]} over training steps")


def pace_chart(curves: dict[str, pd.DataFrame], column: str, *, share: bool = False) -> Markup:
    """Draw ``column`` of both tasks over steps; a ``share`` is labelled in per cent."""
    with axes_of(*SMALL) as axes:
        ends = []
        for task, curve in curves.items():
            last = _curve(axes, curve, column, task)
            ends.append((last, TASK_WORDS[task], TASK_COLOURS[task][0]))
        axes.set_ylim(bottom=0)
        _finish(axes)
        axes.yaxis.set_major_formatter(_percent if share else "{x:,.0f}")
        name_ends(axes, ends)
        return to_svg(axes, f"{column} of both tasks over training steps")


def learning_rate_chart(curves: dict[str, pd.DataFrame]) -> Markup:
    """Draw the learning rate over the steps of all tasks, which share one schedule."""
    joined = pd.concat(curves.values()).drop_duplicates("step").sort_values("step")
    with axes_of(*SMALL) as axes:
        axes.plot(joined["step"], joined["learning_rate"], color=PLUM)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("e-0", "e-")))
        _finish(axes)
        return to_svg(axes, "learning rate over training steps")


def dev_chart(dev: pd.DataFrame, names: dict[str, str]) -> Markup:
    """Draw the columns of dev scores that ``names`` names, where they exist, at every checkpoint."""
    looks = itertools.cycle(zip((BLUE, ORANGE, PLUM, GREEN, OLIVE, STONE), "oDs^vP", strict=True))
    with axes_of() as axes:
        ends = []
        for (column, name), (look, marker) in zip(names.items(), looks, strict=False):
            if column in dev and dev[column].notna().any():
                colour = INK if column == "mean" else look
                axes.plot(dev["step"], dev[column], color=colour, marker=marker, markeredgecolor="white")
                ends.append((float(dev[column].iloc[-1]), name, colour))
        _finish(axes)
        if len(dev) <= 8:
            axes.set_xticks(dev["step"])
        name_ends(axes, ends)
        return to_svg(axes, "dev scores at checkpoints: " + ", ".join(name for _, name, _ in ends))


def running_mean(values: pd.Series) -> pd.Series:
    """Return the centred mean over a tenth of the values (at least three), with shorter windows at both ends."""
    return values.rolling(max(3, len(values) // 10), center=True, min_periods=1).mean()


def _curve(axes: Axes, curve: pd.DataFrame, column: str, task: str) -> float:
    """Draw the values of ``column`` pale and their running mean strong; return the last mean."""
    strong, pale = TASK_COLOURS[task]
    means = running_mean(curve[column])
    axes.plot(curve["step"], curve[column], color=pale, linewidth=0.9)
    axes.plot(curve["step"], means, color=strong)
    return float(means.iloc[-1])


def _finish(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel("step")


def _percent(value: float, _: int) -> str:
    return f"{100 * value:g}%"
