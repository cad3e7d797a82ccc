"""The train pipeline."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from codiemb_pipeline.pipelines.rim import stage_pipeline
from codiemb_pipeline.pipelines.train.nodes import train


def create_pipeline(**_: object) -> Pipeline:
    """Return the one-node pipeline of the stage."""
    return stage_pipeline(
        train,
        {
            "runs": "params:runs",
            "run": "params:run",
            "encoder": "params:encoder",
            "model_input": "model_input",
            "work": "work",
        },
        ["checkpoints", "training_curves"],
    )
