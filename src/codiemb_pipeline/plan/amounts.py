"""How many examples, steps and tokens a run takes: exact where ``assemble`` has run, else from what is declared.

Knows nothing of memory or of what can be reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.model_input import SourceRange, TokenStore, TrainingArrays
from codiemb_pipeline.params.train import TrainParams
from codiemb_pipeline.train.batch_plan import EpochPlan
from codiemb_pipeline.train.loop import plan_of_epoch, total_steps

SAMPLE = 20_000  # examples of a source whose lengths are looked at


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
        sources: ranges of examples; made up in number where they are only declared.
        lengths: by source.
        exact: whether they were counted, or are what is declared.
    """

    sources: tuple[SourceRange, ...]
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
    """

    steps_per_epoch: int
    steps: int
    drawn: Mapping[str, int]
    tokens: int
    tokens_at_once: int


def assembled_examples(model_input: Path, wanted: list[str]) -> Examples | None:
    """Return what ``assemble`` wrote, or ``None`` when it wrote nothing, or of other sources."""
    if not (model_input / "train" / "sources.json").exists():
        return None
    if [entry["name"] for entry in read_json(model_input / "train" / "sources.json")] != wanted:
        return None
    arrays, store = TrainingArrays(model_input / "train"), TokenStore(model_input / "tokens")
    lengths = {source.name: _lengths(arrays, store, source) for source in arrays.sources}
    return Examples(sources=tuple(arrays.sources), lengths=lengths, exact=True)


def _lengths(arrays: TrainingArrays, store: TokenStore, source: SourceRange) -> Lengths:
    step = max((source.stop - source.start) // SAMPLE, 1)
    examples = range(source.start, source.stop, step)
    texts = {
        "query": arrays.query[source.start : source.stop : step],
        "positive": np.concatenate([arrays.positives(example) for example in examples]),
        "negative": np.concatenate([arrays.negatives(example) for example in examples]),
    }
    return Lengths(**{name: float(store.lengths(ids).mean()) if len(ids) else 0.0 for name, ids in texts.items()})


def declared_examples(counts: Mapping[str, tuple[str, int]], max_length: int) -> Examples:
    """Return examples as declared, every text taken to be ``max_length`` tokens long.

    Args:
        counts: task and number of training examples by source.
        max_length: tokens a text has at most.
    """
    sources, start = [], 0
    for name, (task, count) in counts.items():
        sources.append(SourceRange(name=name, task=task, start=start, stop=start + count))
        start += count
    longest = Lengths(query=max_length, positive=max_length, negative=max_length)
    return Examples(sources=tuple(sources), lengths={source.name: longest for source in sources}, exact=False)


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
