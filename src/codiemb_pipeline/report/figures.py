"""Charts of the page as SVG, from tables and artifacts.

One palette, which colour-blind readers can distinguish; where dots meet, shapes differ too. Text stays text and takes
the page's font. The same numbers give the same bytes.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

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

INK, MUTED, GRID, PAPER = "#1b2430", "#66717f", "#e4e8ed", "#ffffff"
IR, STS, BOTH = "#0a5ea8", "#c4560d", "#1b2430"
CHOSEN, PLUM, STONE = "#00776c", "#7d4a9e", "#98a2ae"
IR_PALE, STS_PALE = "#b9d2ea", "#f0cbb0"
SEQUENCE = LinearSegmentedColormap.from_list("house", ["#f3f7f9", "#bcd9dc", "#5aa7a6", "#00776c", "#004a4b"])
STEPS = LinearSegmentedColormap.from_list("steps", ["#93a1b1", "#5b8fc0", "#0a5ea8", "#06305a"])

WIDTH, HEIGHT = 360, 216
"""A chart's natural size in CSS pixels: one of three columns of the page, or a phone's whole width."""
SMALL = (268, 168)
"""The same for one of four columns."""
_POINTS = 72

_RC = {
    "svg.fonttype": "none",
    "svg.hashsalt": "codiemb-pipeline",
    "font.family": ["DejaVu Sans"],  # ships with matplotlib, so layouts are the same everywhere
    "font.size": 10.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": STONE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 10.5,
    "axes.unicode_minus": True,
    "axes.xmargin": 0.02,
    "axes.ymargin": 0.08,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": STONE,
    "ytick.color": STONE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "ytick.major.pad": 3,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "lines.markersize": 5,
    "text.color": INK,
}

_RECIPE_LOOKS = {"uniform": (IR, "s"), "greedy": (PLUM, "^"), "delta_guided": (CHOSEN, "o")}
_MODEL_LOOKS = {merged_name(recipe): look for recipe, look in _RECIPE_LOOKS.items()}
_MORE_LOOKS = tuple(itertools.product(("#00776c", "#8a6d00", IR, PLUM), "s^o"))  # for recipes of other names
_ROW = 30

TASK_COLOURS = {"ir": (IR, IR_PALE), "sts": (STS, STS_PALE)}
TASK_WORDS = {"ir": "retrieval", "sts": "similarity"}


@contextmanager
def chart(size: tuple[int, int] = (WIDTH, HEIGHT)) -> Iterator[tuple[Figure, Axes]]:
    """Yield an empty chart in our style; draw on it and call ``to_svg`` inside the ``with`` block."""
    with mpl.rc_context(_RC):
        figure = Figure(figsize=(size[0] / _POINTS, size[1] / _POINTS), layout="constrained")
        FigureCanvasSVG(figure)
        figure.get_layout_engine().set(w_pad=4 / _POINTS, h_pad=4 / _POINTS)
        yield figure, figure.add_subplot()


def to_svg(figure: Figure, name: str, label: str) -> Markup:
    """Return ``figure`` as an ``<svg>`` element for a page.

    Args:
        figure: drawn within ``chart``.
        name: unique on the page; prefix of the ids.
        label: alternative text for screen readers.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    view = re.search(r'viewBox="([^"]+)"', svg)
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"\s*font-family: [^;\"]+;?", "", body)
    body = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", body).replace("xlink:href", "href")
    body = re.sub(r"<defs>\s*</defs>", "", re.sub(r"\s*\n\s*", " ", _own_ids(body, name)))
    view_box = view.group(1) if view else f"0 0 {WIDTH} {HEIGHT}"
    return Markup(f'<svg viewBox="{view_box}" role="img" aria-label="{escape(label)}">{body.strip()}</svg>')


def _own_ids(body: str, name: str) -> str:
    """Drop unused ids and prefix the others with ``name``, so that ids stay unique on the page."""
    used = set(re.findall(r'href="#([^"]+)"', body)) | set(re.findall(r"url\(#([^)]+)\)", body))
    body = re.sub(r' id="([^"]*)"', lambda hit: hit.group(0) if hit.group(1) in used else "", body)
    return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", body)


def name_ends(axes: Axes, ends: Iterable[tuple[float, str, str]], *, size: float = 10.5) -> None:
    """Write the names of lines at their right ends, shifted where they would overlap.

    Args:
        axes: with final limits.
        ends: (height in data units, name, colour) of each line.
        size: font size in pixels.
    """
    low, high = axes.get_ylim()
    gap = (size * 1.25) / (axes.figure.get_figheight() * _POINTS * 0.8)
    placed: list[list[float]] = []
    entries = sorted(ends)
    for height, _, _ in entries:
        share = (height - low) / (high - low) if high > low else 0.5
        placed.append([max(share, placed[-1][0] + gap) if placed else share])
    overflow = max(0.0, placed[-1][0] - 1.0) if placed else 0.0
    for (height,), (_, name, colour) in zip(placed, entries, strict=True):
        axes.annotate(
            name, (1.0, height - overflow), xycoords="axes fraction", xytext=(5, 0), textcoords="offset points",
            color=colour, va="center", size=size, annotation_clip=False,
        )  # fmt: skip


def gains_chart(change: pd.DataFrame) -> Markup:
    """Draw the difference of every model to base on every benchmark as a dot.

    Args:
        change: (models without base, benchmarks), drawn from top to bottom.
    """
    with chart((WIDTH, 70 + _ROW * change.shape[1])) as (figure, axes):
        looks = _looks([str(model) for model in change.index])
        offsets = np.linspace(-0.24, 0.24, len(change)) if len(change) > 1 else [0.0]
        for (model, row), offset in zip(change.iterrows(), offsets, strict=True):
            colour, marker = looks[str(model)]
            axes.plot(row.to_numpy(), np.arange(len(row)) + offset, marker, color=colour, markeredgecolor="white",
                      markeredgewidth=0.7, markersize=7)  # fmt: skip
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
        return to_svg(figure, "gains", "difference to base of each model on each benchmark")


def _looks(models: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return colour and marker of each model: merged models differ, checkpoints look alike."""
    more = iter(itertools.cycle(_MORE_LOOKS))
    plain = (STONE, "D")
    return {
        model: _MODEL_LOOKS.get(model) or (next(more) if model.startswith(merged_name("")) else plain)
        for model in models
    }


def model_keys(models: Sequence[str]) -> list[tuple[str, Markup]]:
    """Return the name of each model and its marker in ``gains_chart``, for the key beside the chart."""
    shapes = {
        "o": '<circle cx="6" cy="6" r="4.5"/>',
        "s": '<rect x="2" y="2" width="8" height="8"/>',
        "^": '<path d="M6 1.5 11 10.5H1Z"/>',
        "D": '<path d="M6 1 11 6 6 11 1 6Z"/>',
    }
    looks = _looks(models)
    return [
        (
            model,
            Markup(f'<svg class="key" viewBox="0 0 12 12" fill="{colour}" aria-hidden="true">{shapes[marker]}</svg>'),
        )
        for model, (colour, marker) in looks.items()
    ]


def mining_chart(source: str, histogram: CosineHistogram) -> Markup:
    """Draw histograms of the similarity of positives, kept and dropped negatives to their queries, as shares."""
    edges = np.asarray(histogram.edges)
    looks = [("dropped", STONE, 0.30), ("kept", STS, 0.30), ("positives", IR, 0.25)]
    with chart() as (figure, axes):
        handles = []
        for group, colour, alpha in looks:
            counts = np.asarray(getattr(histogram, group), dtype=float)
            if counts.sum() == 0:
                continue
            axes.stairs(counts / counts.sum(), edges, fill=True, color=colour, alpha=alpha)
            axes.stairs(counts / counts.sum(), edges, color=colour, linewidth=1.4)
            handles.append(Line2D([], [], color=colour, linewidth=5, label=f"{group} {int(counts.sum()):,}"))
        _trim(axes, edges, sum(np.asarray(getattr(histogram, group), dtype=float) for group, _, _ in looks))
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
        axes.set_xlabel("cosine similarity to the query")
        figure.legend(handles=handles[::-1], loc="outside upper left", ncols=3, frameon=False, handlelength=0.9,
                      handletextpad=0.5, columnspacing=1.1, borderpad=0, borderaxespad=0.2)  # fmt: skip
        return to_svg(figure, f"mining-{source}", f"similarity of positives, kept and dropped negatives of {source}")


def _trim(axes: Axes, edges: np.ndarray, counts: np.ndarray) -> None:
    """Cut the empty bins at both ends."""
    filled = np.flatnonzero(counts)
    if len(filled):
        axes.set_xlim(edges[max(filled[0] - 1, 0)], edges[min(filled[-1] + 2, len(edges) - 1)])


def merge_weights_chart(method: str, layers: list[Layer], candidates: list[str], top: float) -> Markup:
    """Draw the weight of each candidate (rows) in each layer (columns) as a heat map from 0 to ``top``.

    Every layer must have weights.
    """
    weights = np.array([[layer.weights.get(name, 0.0) for layer in layers] for name in candidates], dtype=float)
    with chart((WIDTH, 66 + 27 * len(candidates))) as (figure, axes):
        axes.pcolormesh(weights, cmap=SEQUENCE, vmin=0, vmax=top, edgecolors="white", linewidth=1.5)
        if len(layers) <= 9:
            for (row, column), weight in np.ndenumerate(weights):
                _write_cell(axes, row, column, float(weight), top)
        axes.set_yticks(np.arange(len(candidates)) + 0.5, [short_step(name) for name in candidates])
        axes.invert_yaxis()
        _layer_axis(axes, layers, 0.5)
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0)
        return to_svg(figure, f"weights-{method}", f"merge weights of {method} by layer and checkpoint")


def _write_cell(axes: Axes, row: int, column: int, weight: float, top: float) -> None:
    text = "0" if weight == 0 else f"{weight:.2f}".removeprefix("0")
    axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", size=9,
              color="white" if weight > 0.55 * top else INK if weight else STONE)  # fmt: skip


def delta_norms_chart(layers: list[Layer], candidates: list[str]) -> Markup:
    """Draw how far each candidate moved from base in each layer; later candidates are darker.

    A line joins the numbered layers; the others (embeddings, pooler) are single dots.
    """
    numbered = np.array([layer.number is not None for layer in layers])
    with chart() as (figure, axes):
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
        return to_svg(figure, "delta-norms", "distance of each checkpoint from base, by layer")


def _layer_axis(axes: Axes, layers: list[Layer], offset: float) -> None:
    labels = [{"embeddings": "emb.", "pooler": "pool."}.get(layer.label, layer.label) for layer in layers]
    every = -(-len(labels) // 10)
    shown = [
        label if layer.number is None or layer.number % every == 0 else ""
        for label, layer in zip(labels, layers, strict=True)
    ]
    axes.set_xticks(np.arange(len(labels)) + offset, shown)
    axes.set_xlabel("layer")


def short_step(name: str) -> str:
    """Return ``step 30`` for ``main/step-000030`` and ``hot, step 30`` for other runs; keep other names."""
    run, _, step = name.rpartition("/")
    number = step.removeprefix("step-")
    if number == step or not number.isdigit():
        return name
    return f"{run}, step {int(number)}" if run not in ("", "main") else f"step {int(number)}"


def loss_chart(curve: pd.DataFrame, column: str, task: str, *, small: bool = False) -> Markup:
    """Draw one loss over steps: logged values pale, their running mean strong, ends of epochs as vertical lines."""
    strong, pale = TASK_COLOURS[task]
    with chart(SMALL if small else (WIDTH, HEIGHT)) as (figure, axes):
        axes.plot(curve["step"], curve[column], color=pale, linewidth=0.9)
        axes.plot(curve["step"], running_mean(curve[column]), color=strong)
        _mark_epochs(axes, curve)
        _finish(axes)
        return to_svg(figure, f"{task}-{column}", f"{column} of {TASK_WORDS[task]} over training steps")


def compare_chart(curves: dict[str, pd.DataFrame], column: str, *, share: bool = False) -> Markup:
    """Draw ``column`` of both tasks over steps; a ``share`` is labelled in per cent."""
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
    """Draw the learning rate over the steps of all tasks, which share one schedule."""
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
    """Draw single dev metrics, such as ``semanlink/ndcg_at_10``, at every checkpoint, named by source."""
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
    """Return the centred mean over a tenth of the values (at least three), with shorter windows at both ends."""
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
