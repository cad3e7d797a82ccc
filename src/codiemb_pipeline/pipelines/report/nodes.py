"""The report node."""

from pathlib import Path
from typing import Any

from codiemb_pipeline.params import ReportParams, TrainParams
from codiemb_pipeline.pipelines.rim import draft


def report(
    params: ReportParams, values: dict[str, Any], trainings: dict[str, TrainParams], work: Path, **folders: Path
) -> tuple[Path, Path, Path]:
    """Write the report page, the headline metrics and the table of results.

    Args:
        params: the ``report`` section.
        values: all of params.yaml as written, to be shown.
        trainings: the training parameters of each run.
        work: holds the durations of the stages.
        folders: what the earlier stages wrote, by catalog name.
    """
    from codiemb_pipeline.report.inputs import ReportInputs, collect_run_facts
    from codiemb_pipeline.report.report import write_report

    out = draft(work, "report")
    facts = collect_run_facts(values, trainings, Path.cwd(), work / "durations")
    write_report(params, facts, ReportInputs(**folders), out)
    return out / "report.html", out / "metrics.json", out / "results.csv"
