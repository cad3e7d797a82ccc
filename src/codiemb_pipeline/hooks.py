"""What happens around every Kedro run: missing inputs are reported first, and the seconds of each stage are kept."""

import time
from pathlib import Path
from typing import Any

from click import ClickException
from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from codiemb_pipeline.catalog_types import StageOutput, WorkFolder
from codiemb_pipeline.jsonl import write_json


class RequireInputs:
    """Reports in a line which folder or name is missing, before any node runs."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Check every input an earlier stage should have written, and that it is known which run is trained."""
        if "params:run" in pipeline.inputs() and catalog.load("params:run") is None:
            runs = ", ".join(catalog.load("params:runs"))
            raise ClickException(f"train: expected the name of a run, --params=run=<name>; params.yaml has {runs}")
        for name in sorted(pipeline.inputs()):
            dataset = catalog.get(name)
            if isinstance(dataset, StageOutput) and not isinstance(dataset, WorkFolder) and not dataset.exists():
                raise ClickException(f"{name}: nothing at {dataset.path}; an earlier stage writes it, run `dvc repro`")


class RecordDurations:
    """Keeps each stage's seconds in the untracked work folder, for the report."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._folder: Path | None = None

    @hook_impl
    def after_catalog_created(self, catalog: Any) -> None:
        """Find the work folder."""
        work = catalog.get("work")
        self._folder = work.load() / "durations" if isinstance(work, WorkFolder) else None

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Start the clock."""
        self._began[node.name] = time.monotonic()

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Write down how long the node took."""
        if self._folder:
            seconds = round(time.monotonic() - self._began[node.name], 2)
            write_json(self._folder / f"{node.name}.json", {"seconds": seconds})
