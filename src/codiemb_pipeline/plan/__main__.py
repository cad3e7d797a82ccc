"""``python -m codiemb_pipeline.plan`` (``make plan``): what the present params.yaml takes, and what is missing."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from codiemb_pipeline.bundle.use import with_bundle
from codiemb_pipeline.command import run
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.sources import size_of
from codiemb_pipeline.launch.torchrun import processes_per_node
from codiemb_pipeline.locations import work_folder
from codiemb_pipeline.params import Params, TrainParams
from codiemb_pipeline.params.file import PARAMS_FILE, read_params
from codiemb_pipeline.plan.budget import (
    Budget,
    ExampleCount,
    ModelSize,
    count_examples,
    disk_bytes,
    model_size,
    run_budget,
    training_flops,
    training_memory,
)
from codiemb_pipeline.plan.feasible import check_gpus, slow_precision
from codiemb_pipeline.plan.requirements import AvailabilityCheck, check_availability, required_resources

GIB = 2**30
WRONG = "wrong"
"""Label of what ends a run on any machine; what is not available may only be so here."""


@click.command()
def main() -> None:
    """Report examples, steps, tokens, memory and disk, and whether encoder, sources and benchmarks are available.

    Ends with 1 where a run would fail: a source that cannot be read, or has too few examples for a batch.
    """
    written = read_params(PARAMS_FILE)
    params = Params.parse(with_bundle(written, work_folder()))
    wrong = 0
    for line in report_lines(params, written, Path()):
        click.echo(line)
        wrong += line.startswith(_line(WRONG, ""))
    if wrong:
        raise InputError(f"{PARAMS_FILE}: a run would fail; see {wrong} lines marked {WRONG!r}")


def report_lines(params: Params, written: Mapping[str, Any], root: Path) -> Iterator[str]:
    """Yield the plan of the project in ``root``; ``written`` is params.yaml without a bundle's paths."""
    checks = check_availability(required_resources(params))
    counts, unknown, wrong = count_examples(params, root, written)
    wrong += [check.where for check in checks if not check.found and check.resource.path is not None]
    yield "training"
    yield from _count_lines(counts)
    size, checkpoints = None, 0
    try:
        size = model_size(params.encoder, checks[0].found)
        yield _line("backbone", f"{size.parameters:,} parameters, {size.layers} layers of width {size.width}")
    except InputError as error:
        unknown.append(f"memory and disk: {error}")
    yield from (_line("unknown", text) for text in unknown)
    for text in wrong:
        yield from _lines(WRONG, text)
    yield from _machine_lines(params)
    for name, train in params.trainings.items():
        yield f"run {name}"
        try:
            processes = processes_per_node(train.launch) * train.launch.nnodes
        except InputError as error:
            processes = train.launch.nnodes
            yield _line("processes", f"counted as one on each machine: {error}")
        if not counts:
            continue
        try:
            budget = run_budget(counts, params.encoder.max_length, train, processes)
        except InputError as error:
            yield from _lines("unknown" if unknown else WRONG, str(error))
            continue
        yield from _budget_lines(budget, train, size, processes, exact=all(count.lengths for count in counts))
        every = train.checkpoint_every or max(budget.steps_per_epoch, 1)
        checkpoints += math.ceil(budget.steps / every) + 1  # with checkpoint 0
    if checkpoints:
        yield _disk_line(size, checkpoints, len(params.merge.recipes))
    yield "needed"
    yield from _availability_lines(checks)


def _machine_lines(params: Params) -> Iterator[str]:
    runs = {f"runs.{name}": train for name, train in params.trainings.items()}
    for name, section in {"mine": params.mine, **runs, "evaluate": params.evaluate}.items():
        if reason := slow_precision(section.precision):
            yield _line("here", f"{name}.precision: {reason}")
    for name, train in runs.items():
        try:
            check_gpus(train)
        except InputError:
            yield _line("here", f"{name}.launch.backend: nccl trains on GPUs (CUDA), and there are none")


def _count_lines(counts: Sequence[ExampleCount]) -> Iterator[str]:
    numbers = [_number(count.examples, about=count.approximate) for count in counts]
    name_width, width = (max(map(len, texts), default=0) for texts in ([count.name for count in counts], numbers))
    for index, (count, number) in enumerate(zip(counts, numbers, strict=True)):
        text = f"{count.name:<{name_width}}  {number:>{width}} {count.task:<3}  {count.evidence}"
        yield _line("" if index else "examples", text)
    if not all(count.lengths for count in counts):
        yield _line("", "assemble may remove some of them: duplicates, and texts of benchmarks")


def _budget_lines(
    budget: Budget, train: TrainParams, size: ModelSize | None, processes: int, *, exact: bool
) -> Iterator[str]:
    drawn = ", ".join(f"{name} {number:,}" for name, number in budget.drawn.items())
    yield _line("an epoch", f"{_number(budget.steps_per_epoch, about=not exact)} steps, drawing {drawn}")
    yield _line("steps", _number(budget.steps, about=not exact and budget.steps != train.max_steps))
    tokens = f"{budget.tokens:,}; up to {budget.tokens_at_once:,} at once in a process"
    bound = f"at most {tokens}: every text counts as encoder.max_length tokens, and most are shorter"
    yield _line("tokens", tokens if exact else bound)
    if size is None:
        return
    at_most = "" if exact else "at most "
    parts = training_memory(size, train, processes=processes, tokens=budget.tokens_at_once)
    model, activations = (part / GIB for part in parts)
    yield _line(
        "memory",
        f"{at_most}{model + activations:.2f} GiB a process (an estimate): {model:.2f} model and optimiser, "
        f"{activations:.2f} activations ({processes} processes, {train.precision}, {train.sharding})",
    )
    flops = training_flops(size, budget.tokens, recomputed=train.gradient_checkpointing or train.grad_cache)
    yield _line("work", f"{at_most}{flops:.1e} floating point operations")


def _disk_line(size: ModelSize | None, checkpoints: int, recipes: int) -> str:
    models = f"{checkpoints} checkpoints and {recipes} merged models, here and in DVC's cache"
    if size is None:
        return f"disk: unknown for {models}"
    gib = disk_bytes(size, checkpoints=checkpoints, merged=recipes) / GIB
    return f"disk: {gib:.1f} GiB for {models}; mining takes {4 * size.width:,} bytes more per document while it runs"


def _availability_lines(checks: Sequence[AvailabilityCheck]) -> Iterator[str]:
    width = max(len(check.resource.name) for check in checks)
    for check in checks:
        resource = check.resource
        size = [] if resource.size is None else [f"about {size_of(resource.size)}"]
        licence = [f"licence: {resource.licence}"] if resource.licence else []
        text = "; ".join([check.where, *size, *licence])
        yield f"{' ' if check.found else '!'} {resource.kind:<10} {resource.name:<{width}}  {text}"
    fetched = [check.resource for check in checks if not check.here]
    if known := [resource.size for resource in fetched if resource.size is not None]:
        others = f", and {len(fetched) - len(known)} of unknown size" if len(fetched) > len(known) else ""
        yield f"to fetch: about {size_of(sum(known))}{others}"
    missing = sum(not check.found for check in checks)
    yield f"{missing} of {len(checks)} resources are not available" if missing else "all resources are available"


def _line(label: str, text: str) -> str:
    return f"  {label:<10} {text}"


def _lines(label: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines()):
        yield _line("" if number else label, line)


def _number(number: int, *, about: bool) -> str:
    return f"about {number:,}" if about else f"{number:,}"


if __name__ == "__main__":
    run(main)
