"""The look of every chart, and how a chart becomes SVG that can stand inside a page.

One palette (told apart by colour-blind readers, and by shape where dots meet), thin horizontal grid, names at the ends
of lines. Text stays text and takes the page's font. The same numbers give the same bytes. Knows nothing of the numbers.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#1b2430", "#66717f", "#e4e8ed", "#ffffff"
IR, STS, BOTH = "#0a5ea8", "#c4560d", "#1b2430"
CHOSEN, PLUM, STONE = "#00776c", "#7d4a9e", "#98a2ae"
IR_PALE, STS_PALE, STONE_PALE = "#b9d2ea", "#f0cbb0", "#d8dde3"
SEQUENCE = LinearSegmentedColormap.from_list("house", ["#f3f7f9", "#bcd9dc", "#5aa7a6", "#00776c", "#004a4b"])
STEPS = LinearSegmentedColormap.from_list("steps", ["#93a1b1", "#5b8fc0", "#0a5ea8", "#06305a"])

WIDTH, HEIGHT = 360, 216
"""A chart in CSS pixels at its natural size: one column of three of the page, or the whole of a telephone."""
SMALL = (268, 168)
"""The same for one column of four."""
_POINTS = 72

_RC = {
    "svg.fonttype": "none",
    "svg.hashsalt": "codiemb-pipeline",
    "font.family": ["DejaVu Sans"],  # ships with matplotlib: measured alike on every machine; the page sets its own
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


@contextmanager
def chart(size: tuple[int, int] = (WIDTH, HEIGHT)) -> Iterator[tuple[Figure, Axes]]:
    """Yield an empty chart in the house style; draw on it and call ``to_svg`` before leaving."""
    with mpl.rc_context(_RC):
        figure = Figure(figsize=(size[0] / _POINTS, size[1] / _POINTS), layout="constrained")
        FigureCanvasSVG(figure)
        figure.get_layout_engine().set(w_pad=4 / _POINTS, h_pad=4 / _POINTS)
        yield figure, figure.add_subplot()


def to_svg(figure: Figure, name: str, label: str) -> Markup:
    """Return ``figure`` as an ``<svg>`` element for a page.

    Args:
        figure: drawn within ``chart``.
        name: unlike that of any other chart on the page; keeps their ids apart.
        label: what a reader who cannot see the chart is told.
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
    """Drop ids that nothing refers to and put ``name`` before the others: a page may hold an id once only."""
    used = set(re.findall(r'href="#([^"]+)"', body)) | set(re.findall(r"url\(#([^)]+)\)", body))
    body = re.sub(r' id="([^"]*)"', lambda hit: hit.group(0) if hit.group(1) in used else "", body)
    return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", body)


def name_ends(axes: Axes, ends: Iterable[tuple[float, str, str]], *, size: float = 10.5) -> None:
    """Write the names of lines at their right ends, moved apart where they would overlap.

    Args:
        axes: its limits are final.
        ends: (height in data units, name, colour) of each line.
        size: of the letters, in pixels.
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
