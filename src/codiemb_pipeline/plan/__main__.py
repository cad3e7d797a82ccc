"""``python -m codiemb_pipeline.plan`` (``make plan``): what the present params.yaml will take, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import yaml

from codiemb_pipeline.bundle.use import with_bundle
from codiemb_pipeline.command import run
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.launch.torchrun import processes_per_node
from codiemb_pipeline.params import Params, TrainParams, run_params
from codiemb_pipeline.plan import tell
from codiemb_pipeline.plan.amounts import Examples, run_amounts
from codiemb_pipeline.plan.memory import GIB, ModelSize, disk_bytes, training_memory
from codiemb_pipeline.plan.needs import examples_of, things_of
from codiemb_pipeline.plan.reach import Reach, look


@click.command()
def main() -> None:
    """Tell examples, steps, tokens, memory, disk, and whether encoder, sources and benchmarks can be reached."""
    values = with_bundle(yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8")), Path("data/.work"))
    params = Params.parse(values)
    found = look(things_of(params))
    for text in plan_lines(params, values["train"], Path(), found):
        click.echo(text)
    missing = sum(not entry.found for entry in found)
    click.echo(
        f"{missing} of {len(found)} things needed can't be reached" if missing else "all that is needed is there"
    )


def plan_lines(params: Params, train: dict, root: Path, found: list[Reach]) -> Iterator[str]:
    """Yield the whole plan.

    Args:
        params: all of params.yaml.
        train: its ``train`` section as written, which runs change.
        root: the project's folder.
        found: where the things needed are.
    """
    examples, unknown = examples_of(params, root)
    size, reason = _size(params, found)
    yield "training"
    yield from tell.examples_lines(examples) if examples else ()
    yield from (tell.line("unknown", text) for text in unknown)
    if size is None:
        yield tell.line("unknown", reason)
    else:
        yield tell.line("backbone", f"{size.parameters:,} parameters, {size.layers} layers of width {size.width}")
    checkpoints = 0
    for name, overrides in params.runs.items():
        settings = run_params(train, overrides, name)
        yield f"run {name}"
        if examples:
            steps = yield from _run(examples, settings, size)
            every = settings.checkpoint_every or max(steps[1], 1)
            checkpoints += -(-steps[0] // every)
    if size is not None and checkpoints:
        total = disk_bytes(size, checkpoints=checkpoints, merged=len(params.merge.recipes)) / GIB
        recipes = len(params.merge.recipes)
        models = f"{checkpoints} checkpoints and {recipes} merged models"
        yield f"disk: {total:.1f} GiB for {models}, here and in DVC's cache"
    yield "needed"
    yield from tell.reach_lines(found)


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


def _size(params: Params, found: list[Reach]) -> tuple[ModelSize | None, str]:
    """Return the size of the backbone, or why it is not known; asks no hub that gave no answer."""
    encoder = next(entry for entry in found if entry.thing.kind == "encoder")
    if not encoder.found:
        return None, "memory and disk: the encoder can't be reached"
    from codiemb_pipeline.plan.model import model_size

    try:
        return model_size(params.encoder), ""
    except InputError as error:
        return None, str(error)


if __name__ == "__main__":
    run(main)
