"""The whole plan, line by line, each as soon as it is known. What only the hub can tell comes last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.launch.torchrun import processes_per_node
from codiemb_pipeline.params import Params, TrainParams, run_params
from codiemb_pipeline.plan import tell
from codiemb_pipeline.plan.amounts import Examples, run_amounts
from codiemb_pipeline.plan.counts import examples_of
from codiemb_pipeline.plan.memory import ModelSize, training_memory
from codiemb_pipeline.plan.reach import Looking, Reach


def plan_lines(params: Params, written: Mapping[str, Any], root: Path, looking: Looking) -> Iterator[str]:
    """Yield the whole plan.

    Args:
        params: all of params.yaml.
        written: the same as written there.
        root: the project's folder.
        looking: the search for the things needed.
    """
    yield "training"
    examples, unknown = examples_of(params, root, written)
    yield from tell.examples_lines(examples) if examples else ()
    yield from (tell.line("unknown", text) for text in unknown)
    size, reason = _size(params, looking.encoder())
    if size is None:
        yield tell.line("unknown", reason)
    else:
        yield tell.line("backbone", f"{size.parameters:,} parameters, {size.layers} layers of width {size.width}")
    checkpoints = 0
    for name, overrides in params.runs.items():
        settings = run_params(written["train"], overrides, name)
        yield f"run {name}"
        if examples:
            steps = yield from _run(examples, settings, size)
            every = settings.checkpoint_every or max(steps[1], 1)
            checkpoints += -(-steps[0] // every)
    if checkpoints:
        yield tell.disk_line(size, checkpoints, len(params.merge.recipes))
    yield "needed"
    yield from tell.reach_lines(looking.all())


def _run(examples: Examples, train: TrainParams, size: ModelSize | None) -> Iterator[str]:
    """Yield the lines of one run; return its steps, and those of an epoch."""
    try:
        processes = processes_per_node(train.launch) * train.launch.nnodes
    except InputError as error:
        processes = train.launch.nnodes
        yield tell.line("processes", f"counted as one a machine: {error}")
    try:
        amounts = run_amounts(examples, train, processes)
    except InputError as error:
        yield tell.line("unknown", str(error))
        return 0, 0
    memory = None
    if size is not None:
        memory = training_memory(size, train, processes=processes, tokens=amounts.tokens_at_once)
    yield from tell.run_lines(amounts, train, size, memory, processes)
    return amounts.steps, amounts.steps_per_epoch


def _size(params: Params, encoder: Reach) -> tuple[ModelSize | None, str]:
    """Return the size of the backbone, or why it is not known; asks no hub that gave no answer."""
    if not encoder.found:
        hint = "its size stands in its config.json alone: set encoder.path to a folder that holds this and its code"
        reason = f"memory and disk: {encoder.thing.name} can't be reached"
        return None, reason if encoder.thing.hub_id is None else f"{reason}; {hint}"
    from codiemb_pipeline.plan.model import model_size

    try:
        return model_size(params.encoder), ""
    except InputError as error:
        return None, f"memory and disk: {error}"
