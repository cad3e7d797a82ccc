"""The stage: writes report.html, metrics.json and results.csv from the files of the other stages.

A missing file is logged, shown as absent on the page and left out of the numbers.
"""

import logging
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from codiemb_pipeline.artifacts.evaluate import EvaluationSummary
from codiemb_pipeline.artifacts.ingest import IngestCounts
from codiemb_pipeline.artifacts.merge import MergeSummary
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.params.report import ReportParams
from codiemb_pipeline.report import formats
from codiemb_pipeline.report.inputs import AbsentError, ReportInputs, RunFacts, attempt, read_artifact
from codiemb_pipeline.report.results import (
    Choice,
    choose_merged,
    headline_metrics,
    read_results,
    results_content,
    results_table,
    summarise,
)
from codiemb_pipeline.report.sections import (
    data_content,
    geometry_content,
    merge_content,
    mining_content,
    training_content,
)

logger = logging.getLogger(__name__)


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
    trained = run.params["assemble"]["train_sources"]
    counts = attempt(read_artifact, IngestCounts, folders.sources / "counts.json")
    merged = attempt(read_artifact, MergeSummary, folders.merged / "summary.json")
    evaluation = attempt(read_artifact, EvaluationSummary, folders.evaluation / "summary.json")
    results = attempt(read_results, evaluation, trained)
    choice = attempt(choose_merged, merged, results)
    sections = {
        ("results", "Results"): attempt(results_content, results, _present(choice), _present(merged)),
        ("training", "Training"): attempt(training_content, folders, run),
        ("mining", "Hard negatives"): attempt(mining_content, folders, params.mining_samples),
        ("merging", "Merging"): attempt(merge_content, merged),
        ("geometry", "Geometry"): attempt(geometry_content, folders, _present(choice), _present(results)),
        ("data", "Data"): attempt(data_content, folders, trained),
        ("run", "The run"): run,
    }
    head = {
        "title": params.title,
        "done": _training_sentence(run.params, _present(counts), _present(choice), _present(merged)),
        "choice": choice,
        "summary": attempt(summarise, results, choice, merged),
    }
    for (_, title), content in sections.items():
        if isinstance(content, AbsentError):
            logger.warning("report: section %r is absent: %s", title, content)
    out.mkdir(parents=True, exist_ok=True)
    results_table(_present(results)).to_csv(out / "results.csv", index=False, lineterminator="\n")
    metrics = _present(attempt(headline_metrics, results, choice)) or {}
    write_json(out / "metrics.json", metrics)
    page = _render_page(head, sections)
    (out / "report.html").write_text(page, encoding="utf-8")
    logger.info("report: %d numbers, %d sections, %d KiB", len(metrics), len(sections), len(page) // 1024)


def _present(value: Any) -> Any:
    return None if isinstance(value, AbsentError) else value


def _training_sentence(
    params: dict[str, Any], counts: IngestCounts | None, choice: Choice | None, merged: MergeSummary | None
) -> str:
    """Return one sentence on the encoder, the sources it was trained on and the number of checkpoints merged."""
    tasks = {name: entry.task for name, entry in counts.sources.items()} if counts else {}
    names = params["assemble"]["train_sources"]
    aims = [
        f"{word} on {formats.listed(of_task)}"
        for task, word in formats.TASK_WORDS.items()
        if (of_task := [name for name in names if tasks.get(name) == task])
    ]
    base = formats.encoder_name(params["encoder"]["path"])
    count = len(merged.methods[choice.recipe].ingredients) if choice and merged else 0
    ending = f", then merged from {count} checkpoint{'s' if count != 1 else ''}" if count else ""
    return f"One encoder, {base}, fine-tuned{' for ' * bool(aims)}{' and '.join(aims)}{ending}."


def _render_page(head: dict[str, Any], sections: dict[tuple[str, str], Any]) -> str:
    """Return the page as one HTML file that loads no other file."""
    environment = Environment(
        loader=PackageLoader("codiemb_pipeline", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = ("number", "signed", "direction", "count", "duration", "listed", "short_step", "to_yaml")
    environment.filters |= {name: getattr(formats, name) for name in names}
    environment.tests["absent"] = lambda value: isinstance(value, AbsentError)
    return environment.get_template("template.html").render(head=head, sections=sections)
