"""What happens around every Kedro run: what cannot go well is reported first, and each stage's seconds are kept."""

import logging
import time
from pathlib import Path
from typing import Any

from click import ClickException
from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from codiemb_pipeline.catalog_types import StageOutput, WorkFolder
from codiemb_pipeline.dvc_lock import keep_copy
from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.process_guard import started_by_dvc

logger = logging.getLogger(__name__)


class RequireInputs:
    """Reports in a line which folder or name is missing, before any node runs."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Check every input an earlier stage should have written, and that it is known which run is trained."""
        if started_by_dvc:
            keep_copy()
        if "params:run" in pipeline.inputs() and catalog.load("params:run") is None:
            runs = ", ".join(catalog.load("params:runs"))
            raise ClickException(f"train: expected the name of a run, --params=run=<name>; params.yaml has {runs}")
        for name in sorted(pipeline.inputs()):
            dataset = catalog.get(name)
            if isinstance(dataset, StageOutput) and not isinstance(dataset, WorkFolder) and not dataset.exists():
                raise ClickException(f"{name}: nothing at {dataset.path}; an earlier stage writes it, run `dvc repro`")


class Foresee:
    """Reports before a long stage what would make it or a later one fail, or take hours."""

    @hook_impl
    def before_node_run(self, node: Node, catalog: Any) -> None:
        """Ask the counts of the sources before mining and assembling, and the machine before it encodes."""
        stage = node.name if node.name in ("mine", "assemble", "train", "evaluate") else None
        if stage is None:
            return
        from codiemb_pipeline.plan.feasible import check_counts, check_gpus, slow_precision

        loaded = {name: catalog.load(name) for name in node.inputs if name.startswith("params:")}
        settings = loaded.get(f"params:{stage}")
        try:
            if stage in ("mine", "assemble"):
                sections = (catalog.load(f"params:{name}") for name in ("assemble", "evaluate", "runs"))
                check_counts(*sections, catalog.load("sources"))
            if stage == "train":
                settings = loaded["params:runs"][loaded["params:run"]]
                check_gpus(settings)
        except PipelineError as error:
            raise ClickException(str(error)) from error
        if reason := slow_precision(getattr(settings, "precision", "")):
            logger.warning("params.yaml: %s.precision: %s", stage, reason)


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
