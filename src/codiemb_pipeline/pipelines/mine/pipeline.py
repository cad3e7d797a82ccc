"""The mine pipeline."""

from kedro.pipeline import Pipeline

from codiemb_pipeline.pipelines.mine.nodes import mine
from codiemb_pipeline.pipelines.rim import stage_pipeline


def create_pipeline(**_: object) -> Pipeline:
    """Return the one-node pipeline of the stage."""
    return stage_pipeline(
        mine,
        ["params:mine", "params:encoder", "params:assemble", "params:evaluate", "sources", "work"],
        "hard_negatives",
    )
