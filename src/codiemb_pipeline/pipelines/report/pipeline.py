"""The report pipeline."""

from kedro.pipeline import Pipeline

from codiemb_pipeline.pipelines.report.nodes import report
from codiemb_pipeline.pipelines.rim import stage_pipeline


def create_pipeline(**_: object) -> Pipeline:
    """Return the one-node pipeline of the stage."""
    return stage_pipeline(
        report,
        {
            "params": "params:report",
            "values": "params:values",
            "trainings": "params:runs",
            "sources": "sources",
            "hard_negatives": "hard_negatives",
            "model_input": "model_input",
            "contamination": "contamination",
            "training_curves": "training_curves",
            "merged": "merged",
            "evaluation": "evaluation",
            "work": "work",
        },
        ["report_page", "metrics", "results"],
    )
