"""The plan as lines of text. Counts nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from codiemb_pipeline.params.train import TrainParams
from codiemb_pipeline.plan.amounts import Amounts, Examples
from codiemb_pipeline.plan.memory import GIB, ModelSize, TrainingMemory, disk_bytes, training_flops
from codiemb_pipeline.plan.reach import Reach

INDENT, LABEL = "  ", 10


def line(label: str, text: str) -> str:
    """Return one line of a section."""
    return f"{INDENT}{label:<{LABEL}} {text}"


def examples_lines(examples: Examples) -> Iterator[str]:
    """Yield what there is to train on, a source a line, each with how its number is known."""
    numbers = {name: _number(count.examples, about=count.about) for name, count in examples.counts.items()}
    name_width, width = (max(len(text) for text in texts) for texts in (numbers, numbers.values()))
    for place, (name, count) in enumerate(examples.counts.items()):
        text = f"{name:<{name_width}}  {numbers[name]:>{width}} {count.task:<3}  {count.known}"
        yield line("" if place else "examples", text)
    if not examples.exact:
        yield line("", "assemble may leave some of them out: repeats, and texts that stand in benchmarks")


def run_lines(
    amounts: Amounts, train: TrainParams, size: ModelSize | None, memory: TrainingMemory | None, processes: int
) -> Iterator[str]:
    """Yield what one run takes."""
    about = not amounts.exact
    drawn = ", ".join(f"{name} {count:,}" for name, count in amounts.drawn.items())
    yield line("an epoch", f"{_number(amounts.steps_per_epoch, about=about)} steps, drawing {drawn}")
    capped = train.max_steps is not None and amounts.steps == train.max_steps
    yield line("steps", _number(amounts.steps, about=about and not capped))
    tokens = f"{amounts.tokens:,}; up to {amounts.tokens_at_once:,} at once in a process"
    longest = "at most {}: every text taken to be as long as encoder.max_length allows, most are shorter"
    yield line("tokens", longest.format(tokens) if about else tokens)
    where = f"{processes} processes, {train.precision}, {train.sharding}"
    if memory is not None and size is not None:
        parts = f"{memory.model / GIB:.2f} model and optimiser, {memory.activations / GIB:.2f} activations"
        kind = "at most, as the tokens; an estimate" if about else "an estimate"
        yield line("memory", f"{memory.all / GIB:.2f} GiB a process: {parts} ({where}); {kind}")
        flops = training_flops(size, amounts.tokens, recomputed=train.gradient_checkpointing or train.grad_cache)
        yield line("work", f"{'at most ' if about else ''}{flops:.1e} floating point operations")


def disk_line(size: ModelSize | None, checkpoints: int, recipes: int) -> str:
    """Return what the models take on disk."""
    models = f"{checkpoints} checkpoints and {recipes} merged models, here and in DVC's cache"
    if size is None:
        return f"disk: unknown for {models}"
    gib = disk_bytes(size, checkpoints=checkpoints, merged=recipes) / GIB
    mining = f"mining takes {4 * size.width:,} bytes more for each document, while it runs"
    return f"disk: {gib:.1f} GiB for {models}; {mining}"


def _number(number: int, *, about: bool) -> str:
    return f"about {number:,}" if about else f"{number:,}"


def reach_lines(found: Iterable[Reach]) -> Iterator[str]:
    """Yield where each thing needed is, what is missing marked."""
    entries = list(found)
    width = max((len(entry.thing.name) for entry in entries), default=0)
    for entry in entries:
        mark = " " if entry.found else "!"
        yield f"{mark} {entry.thing.kind:<{LABEL}} {entry.thing.name:<{width}}  {entry.where}"
