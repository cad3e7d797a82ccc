"""The merge pipeline."""

from kedro.pipeline import Pipeline

from codiemb_pipeline.pipelines.merge.nodes import merge
from codiemb_pipeline.pipelines.rim import stage_pipeline


def create_pipeline(**_: object) -> Pipeline:
    """Return the one-node pipeline of the stage."""
    return stage_pipeline(
        merge,
        [
            "params:merge",
            "params:encoder",
            "params:train",
            "params:evaluate",
            "params:runs",
            "checkpoints",
            "model_input",
            "work",
        ],
        "merged",
    )
