"""The stage: writes report.html, metrics.json and results.csv from the files of the other stages.

A missing file is logged, shown as absent on the page and left out of the numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from codiemb_pipeline.artifacts.evaluate import EvaluationSummary
from codiemb_pipeline.artifacts.merge import MergeSummary, merged_name
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.params.report import ReportParams
from codiemb_pipeline.report import formats
from codiemb_pipeline.report.facts import RunFacts
from codiemb_pipeline.report.figures import short_step
from codiemb_pipeline.report.inputs import AbsentError, ReportInputs, read_artifact
from codiemb_pipeline.report.results import (
    Choice,
    Results,
    choose_merged,
    headline_metrics,
    read_results,
    results_table,
)
from codiemb_pipeline.report.sections_results import geometry_content, results_content
from codiemb_pipeline.report.sections_stages import (
    data_content,
    merge_content,
    mining_content,
    run_content,
    training_content,
)
from codiemb_pipeline.report.summary import Summary, summarise

logger = logging.getLogger(__name__)

Value = TypeVar("Value")
NO_EVALUATION = EvaluationSummary(models={}, benchmarks={}, model_order=[], benchmark_order=[])


def write_report(params: ReportParams, run: RunFacts, folders: ReportInputs, out: Path) -> None:
    """Write the report of a run.

    Args:
        params: the ``report`` section.
        run: facts of the run; see ``collect_run_facts``.
        folders: files of the other stages; any of them may be missing.
        out: receives ``report.html``, ``metrics.json`` (at most eight headline numbers, ``{}`` without results) and
            ``results.csv``.

    Raises:
        InputError: a file exists but cannot be read.
    """
    findings = _Findings(run, folders)
    out.mkdir(parents=True, exist_ok=True)
    table = results_table(findings.results or read_results(NO_EVALUATION, []))
    table.to_csv(out / "results.csv", index=False, lineterminator="\n")
    metrics = headline_metrics(findings.results, findings.choice) if findings.results and findings.choice else {}
    write_json(out / "metrics.json", metrics)
    sections = _sections(params, run, folders, findings)
    for section in sections:
        if section.absent:
            logger.warning("report: section %r is absent: %s", section.title, section.absent)
    page = _render_page(_head(params, run, findings), sections)
    (out / "report.html").write_text(page, encoding="utf-8")
    logger.info("report: %d numbers, %d sections, %d KiB", len(metrics), len(sections), len(page) // 1024)


class _Findings:
    """Results, merge summary, choice and summary as far as their files exist; ``absent`` holds the reasons by name."""

    def __init__(self, run: RunFacts, folders: ReportInputs) -> None:
        self.absent: dict[str, str] = {}
        self.choice: Choice | None = None
        self.summary: Summary | None = None
        self.merged: MergeSummary | None = self._try(
            "merged", lambda: read_artifact(MergeSummary, folders.merged / "summary.json")
        )
        trained = run.params["assemble"]["train_sources"]
        self.results: Results | None = self._try(
            "results",
            lambda: read_results(read_artifact(EvaluationSummary, folders.evaluation / "summary.json"), trained),
        )
        if self.results and self.merged:
            self.choice = self._try("choice", lambda: choose_merged(self.merged, self.results))
        if self.choice:
            self.summary = summarise(self.results, self.choice, self.merged)

    def _try(self, name: str, build: Callable[[], Value]) -> Value | None:
        try:
            return build()
        except AbsentError as absent:
            self.absent[name] = str(absent)
            return None

    def needed(self, name: str) -> Any:
        """Return ``results`` or ``merged``.

        Raises:
            AbsentError: its file is missing.
        """
        if name in self.absent:
            raise AbsentError(self.absent[name])
        return getattr(self, name)


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section of the page.

    Attributes:
        name: its anchor, and the template macro that shows its content.
        title: its heading.
        content: the macro's argument; ``None`` when there is nothing to show.
        absent: why there is nothing to show.
    """

    name: str
    title: str
    content: dict[str, Any] | None = None
    absent: str | None = None


def _sections(params: ReportParams, run: RunFacts, folders: ReportInputs, found: _Findings) -> list[Section]:
    order = [str(model) for model in found.results.scores.index] if found.results else []
    trained = run.params["assemble"]["train_sources"]
    builders: dict[tuple[str, str], Callable[[], dict[str, Any]]] = {
        ("results", "Results"): lambda: results_content(found.needed("results"), found.choice, found.merged),
        ("training", "Training"): lambda: training_content(folders, run.params),
        ("mining", "Hard negatives"): lambda: mining_content(folders, params.mining_samples),
        ("merging", "Merging"): lambda: merge_content(folders, found.needed("merged")),
        ("geometry", "Geometry"): lambda: geometry_content(folders, found.choice, order),
        ("data", "Data"): lambda: data_content(folders, trained),
        ("run", "The run"): lambda: run_content(run),
    }
    sections = []
    for (name, title), build in builders.items():
        try:
            sections.append(Section(name=name, title=title, content=build()))
        except AbsentError as absent:
            sections.append(Section(name=name, title=title, absent=str(absent)))
    return sections


def _head(params: ReportParams, run: RunFacts, found: _Findings) -> dict[str, Any]:
    return {
        "title": params.title,
        "done": _training_sentence(run.params, found),
        "summary": found.summary,
        "choice": found.choice,
        "why": " ".join(found.absent.values()),
    }


def _training_sentence(params: dict[str, Any], found: _Findings) -> str:
    """Return one sentence on the encoder, the sources it was trained on and the number of checkpoints merged."""
    sources = params["ingest"]["sources"]
    names = params["assemble"]["train_sources"]
    aims = [
        f"{word} on {formats.listed(of_task)}"
        for task, word in (("ir", "retrieval"), ("sts", "similarity"))
        if (of_task := [name for name in names if sources[name]["task"] == task])
    ]
    base = formats.encoder_name(params["encoder"]["path"])
    count = 0
    if found.merged and found.choice:
        recipe = next(name for name in found.merged.order if merged_name(name) == found.choice.model)
        count = len(found.merged.methods[recipe].ingredients)
    ending = f", then merged from {count} checkpoint{'s' if count != 1 else ''}" if count else ""
    return f"One encoder, {base}, fine-tuned for {' and '.join(aims)}{ending}."


def _render_page(head: dict[str, Any], sections: list[Section]) -> str:
    """Return the page as one HTML file that loads no other file."""
    package = files("codiemb_pipeline.report")
    sources = {name: (package / name).read_text(encoding="utf-8") for name in ("template.html", "sections.html")}
    style = Markup((package / "style.css").read_text(encoding="utf-8"))
    environment = Environment(
        loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    names = ("number", "signed", "direction", "count", "duration")
    environment.filters |= {name: getattr(formats, name) for name in names} | {"short_step": short_step}
    return environment.get_template("template.html").render(style=style, head=head, sections=sections)
