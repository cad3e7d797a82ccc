"""The train pipeline."""

from kedro.pipeline import Pipeline

from codiemb_pipeline.pipelines.rim import stage_pipeline
from codiemb_pipeline.pipelines.train.nodes import train


def create_pipeline(**_: object) -> Pipeline:
    """Return the one-node pipeline of the stage."""
    return stage_pipeline(
        train,
        ["params:runs", "params:run", "params:encoder", "params:evaluate", "model_input", "work"],
        ["checkpoints", "training_curves"],
    )
