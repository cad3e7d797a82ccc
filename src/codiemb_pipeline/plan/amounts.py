"""How many steps and tokens a run takes, given how many examples there are of each source.

Knows nothing of where those numbers come from, of memory, or of what can be reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codiemb_pipeline.artifacts.assemble import SourceRange, TokenStore, TrainingArrays
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params.train import TrainParams
from codiemb_pipeline.schema import Task
from codiemb_pipeline.train.batch_plan import EpochPlan
from codiemb_pipeline.train.loop import plan_of_epoch, total_steps

SAMPLE = 20_000  # examples of a source whose lengths are looked at


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many training examples a source has, and how that is known.

    Attributes:
        task: of the source.
        examples: queries or pairs.
        known: in words: assembled, counted or declared, and where.
        about: whether the number is only near the real one, such as a share of what is declared.
    """

    task: Task
    examples: int
    known: str
    about: bool = False


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Mean tokens of the texts of a source's examples; a pair's second text is its positive."""

    query: float
    positive: float
    negative: float


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What there is to train on.

    Attributes:
        sources: ranges of examples; made up where nothing is assembled yet.
        counts: by source.
        lengths: by source.
        exact: whether they are those that training will read; else what ``assemble`` leaves out is still among them,
            and every text is taken to be as long as a text may be.
    """

    sources: tuple[SourceRange, ...]
    counts: Mapping[str, Count]
    lengths: Mapping[str, Lengths]
    exact: bool


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """What a run takes.

    Attributes:
        steps_per_epoch, steps: optimiser updates.
        drawn: examples one epoch draws, of all processes, by source.
        tokens: of the whole run, all processes.
        tokens_at_once: padded tokens one process encodes at once with gradient.
        exact: as of the examples.
    """

    steps_per_epoch: int
    steps: int
    drawn: Mapping[str, int]
    tokens: int
    tokens_at_once: int
    exact: bool


def assembled_examples(model_input: Path, wanted: list[str]) -> Examples | None:
    """Return what ``assemble`` wrote, or ``None`` when it wrote nothing, or of other sources."""
    if not (model_input / "train" / "sources.json").exists():
        return None
    if [entry["name"] for entry in read_json(model_input / "train" / "sources.json")] != wanted:
        return None
    arrays, store = TrainingArrays(model_input / "train"), TokenStore(model_input / "tokens")
    counts = {
        source.name: Count(task=source.task, examples=source.stop - source.start, known="as assembled")
        for source in arrays.sources
    }
    lengths = {source.name: _lengths(arrays, store, source) for source in arrays.sources}
    return Examples(sources=tuple(arrays.sources), counts=counts, lengths=lengths, exact=True)


def _lengths(arrays: TrainingArrays, store: TokenStore, source: SourceRange) -> Lengths:
    step = max((source.stop - source.start) // SAMPLE, 1)
    examples = range(source.start, source.stop, step)
    texts = {
        "query": arrays.query[source.start : source.stop : step],
        "positive": np.concatenate([arrays.positives(example) for example in examples]),
        "negative": np.concatenate([arrays.negatives(example) for example in examples]),
    }
    return Lengths(**{name: float(store.lengths(ids).mean()) if len(ids) else 0.0 for name, ids in texts.items()})


def expected_examples(counts: Mapping[str, Count], max_length: int) -> Examples:
    """Return examples in the numbers given, every text taken to be ``max_length`` tokens long.

    Args:
        counts: by source.
        max_length: tokens a text has at most.
    """
    sources, start = [], 0
    for name, count in counts.items():
        sources.append(SourceRange(name=name, task=count.task, start=start, stop=start + count.examples))
        start += count.examples
    longest = Lengths(query=max_length, positive=max_length, negative=max_length)
    lengths = {source.name: longest for source in sources}
    return Examples(sources=tuple(sources), counts=dict(counts), lengths=lengths, exact=False)


def run_amounts(examples: Examples, train: TrainParams, processes: int) -> Amounts:
    """Return what a run takes.

    Raises:
        InputError: the sources do not fill a batch, or the sampler asks for what is not there.
    """
    plan = plan_of_epoch(train, examples.sources, 0, processes)
    steps = total_steps(train, len(plan))
    per_example = {source.name: _tokens_of(examples, source, train) for source in examples.sources}
    drawn = _drawn(plan)
    an_epoch = sum(count * per_example[name] for name, count in drawn.items())
    batch = max(train.batch_size.model_dump()[entry.task] * per_example[entry.name] for entry in examples.sources)
    at_once = batch / (1 - train.chunk.max_padding)
    return Amounts(
        steps_per_epoch=len(plan),
        steps=steps,
        drawn=drawn,
        tokens=int(an_epoch * steps / max(len(plan), 1)),
        tokens_at_once=int(min(at_once, train.chunk.tokens) if train.grad_cache else at_once),
        exact=examples.exact,
    )


def _tokens_of(examples: Examples, source: SourceRange, train: TrainParams) -> float:
    lengths = examples.lengths[source.name]
    if source.task == "sts":
        return lengths.query + lengths.positive
    return lengths.query + train.ir.positives * lengths.positive + train.ir.hard_negatives * lengths.negative


def _drawn(plan: EpochPlan) -> dict[str, int]:
    slots = np.bincount(plan.slot_source, minlength=len(plan.sources))
    return {
        source.name: int(count) * plan.batch_sizes[source.task]
        for source, count in zip(plan.sources, slots, strict=True)
    }
