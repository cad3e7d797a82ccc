"""The seven stages, one pipeline each, and all of them in order as the default."""

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

STAGES = ("ingest", "mine", "assemble", "train", "merge", "evaluate", "report")


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines by name; Kedro imports only those a command asks for."""
    pipelines = find_pipelines(raise_errors=True)
    pipelines["__default__"] = sum((pipelines[stage] for stage in STAGES if stage in pipelines), Pipeline([]))
    return pipelines
