"""Charts of results, mining and merging. From tables and summaries to SVG; knows nothing of files or of the page."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from codiemb_pipeline.artifacts.merge import Layer, merged_name
from codiemb_pipeline.artifacts.mine import CosineHistogram
from codiemb_pipeline.report.figures_style import (
    CHOSEN,
    INK,
    IR,
    PLUM,
    SEQUENCE,
    STEPS,
    STONE,
    STS,
    WIDTH,
    chart,
    name_ends,
    to_svg,
)

_RECIPE_LOOKS = {"uniform": (IR, "s"), "greedy": (PLUM, "^"), "delta_guided": (CHOSEN, "o")}
_MODEL_LOOKS = {merged_name(recipe): look for recipe, look in _RECIPE_LOOKS.items()}
_MORE_LOOKS = tuple(itertools.product(("#00776c", "#8a6d00", IR, PLUM), "s^o"))  # for recipes of other names
_ROW = 30


def gains_chart(change: pd.DataFrame) -> Markup:
    """Draw every model's difference to base on every benchmark as a dot.

    Args:
        change: (models but base, benchmarks), in the order they are drawn, top down.
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
    """Return colour and marker of each model: merged ones apart from each other, checkpoints alike."""
    more = iter(itertools.cycle(_MORE_LOOKS))
    plain = (STONE, "D")
    return {
        model: _MODEL_LOOKS.get(model) or (next(more) if model.startswith(merged_name("")) else plain)
        for model in models
    }


def model_keys(models: Sequence[str]) -> list[tuple[str, Markup]]:
    """Return for each model its name and its mark in ``gains_chart``, for a key in the page."""
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
    """Draw how similar positives, kept and dropped negatives are to their queries, each as a share of its number."""
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
    """Leave out the empty bins at both ends."""
    filled = np.flatnonzero(counts)
    if len(filled):
        axes.set_xlim(edges[max(filled[0] - 1, 0)], edges[min(filled[-1] + 2, len(edges) - 1)])


def merge_weights_chart(method: str, layers: list[Layer], candidates: list[str], top: float) -> Markup:
    """Draw a heat map: the weight of each candidate (rows) in each layer (columns), from 0 to ``top``.

    Every layer holds weights: the caller leaves out those that did not move.
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
    """Draw how far each candidate moved from base in each layer, later candidates darker.

    A line joins the layers of the stack; what lies outside it (embeddings) stands alone.
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
    """Return ``step 30`` for ``main/step-000030`` and ``hot, step 30`` for another run's; other names as they are."""
    run, _, step = name.rpartition("/")
    number = step.removeprefix("step-")
    if number == step or not number.isdigit():
        return name
    return f"{run}, step {int(number)}" if run not in ("", "main") else f"step {int(number)}"
