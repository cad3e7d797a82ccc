"""The evaluate pipeline."""

from kedro.pipeline import Pipeline

from codiemb_pipeline.pipelines.evaluate.nodes import evaluate
from codiemb_pipeline.pipelines.rim import stage_pipeline


def create_pipeline(**_: object) -> Pipeline:
    """Return the one-node pipeline of the stage."""
    return stage_pipeline(
        evaluate,
        ["params:evaluate", "params:encoder", "params:runs", "checkpoints", "merged", "sources", "work"],
        "evaluation",
    )
