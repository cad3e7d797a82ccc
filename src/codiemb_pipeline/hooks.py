"""What happens around every Kedro run: params.yaml is checked whole, and the seconds of each stage are kept."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from click import ClickException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from codiemb_pipeline.catalog_types import Folder, WorkFolder
from codiemb_pipeline.errors import InputError, nearest
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.params import Params


class CheckParams:
    """Refuses a params.yaml with an unknown, missing or wrong key anywhere, whatever stage is run."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Check all sections, with run-time overrides in, and the name of the run where one is given."""
        try:
            values = dict(context.params)
            run = values.pop("run", None)
            known = Params.parse(values).runs
        except InputError as error:
            raise ClickException(str(error)) from None
        if run is not None and run not in known:
            raise ClickException(f"--params=run={run}: no run of that name in params.yaml{nearest(str(run), known)}")


class RequireInputs:
    """Says in one line which folder is missing and which stage writes it, before any node runs."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Check every input an earlier stage should have written."""
        for name in sorted(pipeline.inputs()):
            dataset = catalog.get(name)
            if isinstance(dataset, Folder) and not isinstance(dataset, WorkFolder) and not dataset.exists():
                raise ClickException(f"{name}: nothing at {dataset.place}; an earlier stage writes it, run `dvc repro`")


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
