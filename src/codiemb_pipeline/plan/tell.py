"""The plan as lines of text. Counts nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from codiemb_pipeline.params.train import TrainParams
from codiemb_pipeline.plan.amounts import Amounts, Examples
from codiemb_pipeline.plan.memory import GIB, ModelSize, TrainingMemory, training_flops
from codiemb_pipeline.plan.reach import Reach

INDENT, LABEL = "  ", 10


def line(label: str, text: str) -> str:
    """Return one line of a section."""
    return f"{INDENT}{label:<{LABEL}} {text}"


def examples_lines(examples: Examples) -> Iterator[str]:
    """Yield what there is to train on."""
    counts = ", ".join(f"{entry.name} {entry.stop - entry.start:,} {entry.task}" for entry in examples.sources)
    known = "as assembled" if examples.exact else "as declared, every text as long as encoder.max_length allows"
    yield line("examples", f"{counts} ({known})")


def run_lines(
    amounts: Amounts, train: TrainParams, size: ModelSize | None, memory: TrainingMemory | None, processes: int
) -> Iterator[str]:
    """Yield what one run takes."""
    drawn = ", ".join(f"{name} {count:,}" for name, count in amounts.drawn.items())
    yield line("an epoch", f"{amounts.steps_per_epoch:,} steps, drawing {drawn}")
    yield line("steps", f"{amounts.steps:,}")
    yield line("tokens", f"{amounts.tokens:,}; up to {amounts.tokens_at_once:,} at once in a process")
    where = f"{processes} processes, {train.precision}, {train.sharding}"
    if memory is not None and size is not None:
        parts = f"{memory.model / GIB:.2f} model and optimiser, {memory.activations / GIB:.2f} activations"
        yield line("memory", f"{memory.all / GIB:.2f} GiB a process: {parts} ({where}); an estimate")
        flops = training_flops(size, amounts.tokens, recomputed=train.gradient_checkpointing or train.grad_cache)
        yield line("work", f"{flops:.1e} floating point operations")


def reach_lines(found: Iterable[Reach]) -> Iterator[str]:
    """Yield where each thing needed is, what is missing marked."""
    entries = list(found)
    width = max((len(entry.thing.name) for entry in entries), default=0)
    for entry in entries:
        mark = " " if entry.found else "!"
        yield f"{mark} {entry.thing.kind:<{LABEL}} {entry.thing.name:<{width}}  {entry.where}"
