"""The page: sections in order, each shown or shown as absent, rendered into one self-contained HTML text.

Knows the template and which section needs which input; knows nothing of how numbers are made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from codiemb_pipeline.report import formats
from codiemb_pipeline.report.figures import short_step
from codiemb_pipeline.report.inputs import AbsentError


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section of the page.

    Attributes:
        name: its anchor, and the template macro that shows its content.
        title: its heading.
        content: what the macro is given; ``None`` when there is nothing to show.
        absent: why there is nothing to show.
    """

    name: str
    title: str
    content: dict[str, Any] | None = None
    absent: str | None = None


def build_section(name: str, title: str, build: Callable[[], dict[str, Any]]) -> Section:
    """Return the section that ``build`` fills, or one that says why it is absent."""
    try:
        return Section(name=name, title=title, content=build())
    except AbsentError as absent:
        return Section(name=name, title=title, absent=str(absent))


def render_page(head: dict[str, Any], sections: list[Section]) -> str:
    """Return the page as HTML; it asks for no other file."""
    package = files("codiemb_pipeline.report")
    sources = {name: (package / name).read_text(encoding="utf-8") for name in ("template.html", "sections.html")}
    style = Markup((package / "style.css").read_text(encoding="utf-8"))
    environment = Environment(
        loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": formats.number,
        "signed": formats.signed,
        "direction": formats.direction,
        "general": formats.general,
        "count": formats.count,
        "duration": formats.duration,
        "short_step": short_step,
    }
    return environment.get_template("template.html").render(style=style, head=head, sections=sections)
