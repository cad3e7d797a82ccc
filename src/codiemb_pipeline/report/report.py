"""The stage: writes report.html, metrics.json and results.csv from whatever the other stages wrote.

What a missing file leaves open is shown as absent on the page and left out of the numbers, and logged. Knows nothing of
charts or HTML.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from codiemb_pipeline.artifacts.merge import MergeSummary, merged_name
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.params.report import ReportParams
from codiemb_pipeline.report.facts import RunFacts
from codiemb_pipeline.report.formats import encoder_name, listed
from codiemb_pipeline.report.inputs import AbsentError, ReportInputs, read_artifact, read_written
from codiemb_pipeline.report.metrics import Choice, choose_merged, headline_metrics
from codiemb_pipeline.report.page import Section, build_section, render_page
from codiemb_pipeline.report.sections_data import data_content, run_content
from codiemb_pipeline.report.sections_results import geometry_content, results_content
from codiemb_pipeline.report.sections_stages import merge_content, mining_content, training_content
from codiemb_pipeline.report.tables import Results, read_results, results_table
from codiemb_pipeline.report.verdict import Verdict, judge

logger = logging.getLogger(__name__)


def write_report(params: ReportParams, run: RunFacts, folders: ReportInputs, out: Path) -> None:
    """Write the report of a run.

    Args:
        params: the ``report`` section.
        run: what was run; see ``collect_run_facts``.
        folders: what the other stages wrote; any of it may be missing.
        out: receives ``report.html``, ``metrics.json`` (eight headline numbers at most, ``{}`` without results) and
            ``results.csv``.

    Raises:
        InputError: a file that is there cannot be read.
    """
    findings = _Findings(run, folders)
    out.mkdir(parents=True, exist_ok=True)
    table = results_table(findings.results) if findings.results else results_table(_NO_RESULTS)
    table.to_csv(out / "results.csv", index=False, lineterminator="\n")
    metrics = headline_metrics(findings.results, findings.choice) if findings.results and findings.choice else {}
    write_json(out / "metrics.json", metrics)
    sections = _sections(params, run, folders, findings)
    for section in sections:
        if section.absent:
            logger.warning("report: section %r is absent: %s", section.title, section.absent)
    page = render_page(_head(params, run, findings), sections)
    (out / "report.html").write_text(page, encoding="utf-8")
    logger.info("report: %d numbers, %d sections, %d KiB", len(metrics), len(sections), len(page) // 1024)


_NO_RESULTS = read_results({"models": {}, "model_order": [], "benchmarks": {}, "benchmark_order": []}, [])


class _Findings:
    """Results, choice and verdict, as far as the input goes; ``why`` says what is missing for the verdict."""

    def __init__(self, run: RunFacts, folders: ReportInputs) -> None:
        self.results: Results | None = None
        self.merged: MergeSummary | None = None
        self.choice: Choice | None = None
        self.verdict: Verdict | None = None
        self.why = ""
        self.why_no_results = self.why_no_merge = ""
        try:
            self.merged = read_artifact(MergeSummary, folders.merged / "summary.json")
        except AbsentError as absent:
            self.why = self.why_no_merge = str(absent)
        try:
            summary = read_written(folders.evaluation / "summary.json", "evaluate")
            self.results = read_results(summary, run.params["assemble"]["train_sources"])
        except AbsentError as absent:
            self.why = self.why_no_results = str(absent)
        if self.results and self.merged:
            self._choose(self.results, self.merged)

    def _choose(self, results: Results, merged: MergeSummary) -> None:
        try:
            self.choice = choose_merged(merged, results)
            self.verdict = judge(results, self.choice, merged)
        except AbsentError as absent:
            self.why = str(absent)

    def results_or_absent(self) -> Results:
        """Return the results, or say why there are none."""
        if self.results is None:
            raise AbsentError(self.why_no_results)
        return self.results

    def merged_or_absent(self) -> MergeSummary:
        """Return the summary of merging, or say why there is none."""
        if self.merged is None:
            raise AbsentError(self.why_no_merge)
        return self.merged


def _sections(params: ReportParams, run: RunFacts, folders: ReportInputs, found: _Findings) -> list[Section]:
    order = [str(model) for model in found.results.scores.index] if found.results else []
    trained = run.params["assemble"]["train_sources"]
    return [
        build_section(
            "results", "Results", lambda: results_content(found.results_or_absent(), found.choice, found.merged)
        ),
        build_section("training", "Training", lambda: training_content(folders, run.params)),
        build_section("mining", "Hard negatives", lambda: mining_content(folders, params.mining_samples)),
        build_section("merging", "Merging", lambda: merge_content(folders, found.merged_or_absent())),
        build_section("geometry", "Geometry", lambda: geometry_content(folders, found.choice, order)),
        build_section("data", "Data", lambda: data_content(folders, trained)),
        build_section("run", "What was run", lambda: run_content(run)),
    ]


def _head(params: ReportParams, run: RunFacts, found: _Findings) -> dict[str, Any]:
    return {
        "title": params.title,
        "done": _what_was_done(run.params, found),
        "verdict": found.verdict,
        "choice": found.choice,
        "why": found.why,
    }


def _what_was_done(params: dict[str, Any], found: _Findings) -> str:
    """Return one sentence: which encoder, trained on what, merged from how many checkpoints."""
    sources = params["ingest"]["sources"]
    names = params["assemble"]["train_sources"]
    aims = [
        f"{word} on {listed(of_task)}"
        for task, word in (("ir", "retrieval"), ("sts", "similarity"))
        if (of_task := [name for name in names if sources[name]["task"] == task])
    ]
    base = encoder_name(params["encoder"]["path"])
    count = 0
    if found.merged and found.choice:
        recipe = next(name for name in found.merged.order if merged_name(name) == found.choice.model)
        count = len(found.merged.methods[recipe].ingredients)
    ending = f", then merged from {count} checkpoint{'s' if count != 1 else ''}" if count else ""
    return f"One encoder, {base}, fine-tuned for {' and '.join(aims)}{ending}."
