"""The ingest pipeline."""

from kedro.pipeline import Pipeline

from codiemb_pipeline.pipelines.ingest.nodes import ingest
from codiemb_pipeline.pipelines.rim import stage_pipeline


def create_pipeline(**_: object) -> Pipeline:
    """Return the one-node pipeline of the stage."""
    return stage_pipeline(ingest, ["params:ingest", "work"], "sources")
