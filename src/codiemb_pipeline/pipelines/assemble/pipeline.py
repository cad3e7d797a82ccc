"""The assemble pipeline."""

from kedro.pipeline import Pipeline

from codiemb_pipeline.pipelines.assemble.nodes import assemble
from codiemb_pipeline.pipelines.rim import stage_pipeline


def create_pipeline(**_: object) -> Pipeline:
    """Return the one-node pipeline of the stage."""
    return stage_pipeline(
        assemble,
        ["params:assemble", "params:encoder", "params:evaluate", "sources", "hard_negatives", "work"],
        ["model_input", "contamination"],
    )
