"""The report node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codiemb_pipeline.params import ReportParams
from codiemb_pipeline.pipelines.rim import draft


def report(params: ReportParams, values: dict[str, Any], work: Path, **folders: Path) -> tuple[Path, Path, Path]:
    """Write the report page, the headline metrics and the table of results.

    Args:
        params: the ``report`` section.
        values: all of params.yaml as written, to be shown.
        work: holds the durations of the stages.
        folders: what the earlier stages wrote, by catalog name.
    """
    from codiemb_pipeline.report.facts import collect_run_facts
    from codiemb_pipeline.report.inputs import ReportInputs
    from codiemb_pipeline.report.report import write_report

    out = draft(work, "report")
    facts = collect_run_facts(values, Path.cwd(), work / "durations")
    write_report(params, facts, ReportInputs(**folders), out)
    return out / "report.html", out / "metrics.json", out / "results.csv"
