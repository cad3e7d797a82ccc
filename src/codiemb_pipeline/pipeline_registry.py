"""The seven stages, one pipeline each, and all of them in order as the default."""

from importlib import import_module

from click import ClickException
from kedro.pipeline import Pipeline

from codiemb_pipeline.errors import nearest

STAGES = ("ingest", "mine", "assemble", "train", "merge", "evaluate", "report")


class _Pipelines(dict[str, Pipeline]):
    def __missing__(self, name: str) -> Pipeline:
        raise ClickException(f"--pipelines={name}: no pipeline of that name{nearest(name, STAGES)}")


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines by name. The stages' own code is imported when a node runs."""
    modules = {stage: import_module(f"codiemb_pipeline.pipelines.{stage}") for stage in STAGES}
    pipelines = _Pipelines((stage, module.create_pipeline()) for stage, module in modules.items())
    pipelines["__default__"] = sum(pipelines.values(), Pipeline([]))
    return pipelines
