"""Which examples form micro-batch m of step s on process r: a pure function of the sizes, the seed and the epoch.

Every step is of one source, the same on all processes; processes hold disjoint parts. Integers only: no tensors, no
process group, so a test asks for all processes at once. Knows nothing of what an example is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.model_input import SourceRange
from codiemb_pipeline.schema import TASKS, Task


@dataclass(frozen=True)
class EpochPlan:
    """One epoch: ``step_source[s]`` is the source of step s, ``orders`` the examples of each source in drawing order.

    Attributes:
        sources: the sources, as given.
        step_source: int16 (S,), positions in ``sources``.
        step_batch: int64 (S,), which global batch of its source's order a step takes.
        orders: per source, example numbers, int64; whole global batches only.
        batch_sizes: per process and micro-batch, by task.
        world_size, accumulation: as given.
        unused: examples of each source this epoch leaves out, by name.
    """

    sources: Sequence[SourceRange]
    step_source: np.ndarray
    step_batch: np.ndarray
    orders: Sequence[np.ndarray]
    batch_sizes: Mapping[Task, int]
    world_size: int
    accumulation: int
    unused: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.step_source)

    def source(self, step: int) -> SourceRange:
        """Return the source of ``step``."""
        return self.sources[int(self.step_source[step])]

    def examples(self, step: int, micro_batch: int, process_rank: int) -> np.ndarray:
        """Return the example numbers of one micro-batch on one process, int64 (B,)."""
        size = self.batch_sizes[self.source(step).task]
        slot = (int(self.step_batch[step]) * self.accumulation + micro_batch) * self.world_size + process_rank
        order = self.orders[int(self.step_source[step])]
        return order[slot * size : (slot + 1) * size]


def plan_epoch(
    sources: Sequence[SourceRange],
    *,
    batch_sizes: Mapping[Task, int],
    world_size: int,
    accumulation: int,
    steps_per_task: Mapping[Task, float] | None,
    repeat: bool,
    seed: int,
    epoch: int,
) -> EpochPlan:
    """Plan one epoch (CoDiEmb, section 2.2: one task per step, batch size by task, steps per task balanced).

    A source gives as many whole global batches (batch size * processes * accumulation) as it holds; the shorter tail is
    left out. Where ``steps_per_task`` asks for fewer, an epoch takes the next window of the source's current pass, so
    that later epochs see the rest; where it asks for more, the source is gone through again (``repeat``), else the
    other task is cut to match. A task's steps are shared among its sources by size, at least one each. Steps of a
    source are spread evenly over the epoch.

    Args:
        sources: ranges of examples, one per source.
        batch_sizes: examples per process and micro-batch, by task.
        world_size: number of processes.
        accumulation: micro-batches per step.
        steps_per_task: relative numbers of steps; ``None`` takes what there is.
        repeat: see above.
        seed: with ``epoch`` decides everything random.
        epoch: 0 for the first.

    Raises:
        InputError: a source is smaller than one global batch, or a task asked for has no source.
    """
    whole = _whole_batches(sources, batch_sizes, world_size * accumulation)
    wanted = _wanted_batches(sources, whole, steps_per_task, repeat)
    orders, unused = [], {}
    for number, source in enumerate(sources):
        size = batch_sizes[source.task] * world_size * accumulation
        order = _order(source, int(whole[number]), int(wanted[number]), size, (seed, number, epoch))
        orders.append(order)
        drawn = len(np.unique(order)) if wanted[number] > whole[number] else len(order)
        unused[source.name] = (source.stop - source.start) - drawn
    step_source = _spread(wanted, np.random.default_rng((seed, len(sources), epoch)))
    step_batch = np.zeros(len(step_source), dtype=np.int64)
    for number in range(len(sources)):
        mine = step_source == number
        step_batch[mine] = np.arange(mine.sum())
    return EpochPlan(sources, step_source, step_batch, orders, batch_sizes, world_size, accumulation, unused)


def _whole_batches(sources: Sequence[SourceRange], batch_sizes: Mapping[Task, int], factor: int) -> np.ndarray:
    """Return how many global batches each source fills."""
    whole = np.array([(entry.stop - entry.start) // (batch_sizes[entry.task] * factor) for entry in sources])
    for source, batches in zip(sources, whole, strict=True):
        if batches == 0:
            raise InputError(
                f"source {source.name!r}: {source.stop - source.start} training examples do not fill one global batch "
                f"of {batch_sizes[source.task] * factor} (train.batch_size.{source.task} * processes * accumulation); "
                f"lower those, or take the source out of assemble.train_sources"
            )
    return whole


def _wanted_batches(
    sources: Sequence[SourceRange], whole: np.ndarray, steps_per_task: Mapping[Task, float] | None, repeat: bool
) -> np.ndarray:
    """Return how many global batches each source gives in an epoch."""
    if steps_per_task is None:
        return whole
    members = {task: [n for n, source in enumerate(sources) if source.task == task] for task in TASKS}
    asked = {task: share for task, share in steps_per_task.items() if share > 0}
    for task in asked:
        if not members[task]:
            raise InputError(f"params.yaml: train.sampler.steps_per_task.{task}: no source of that task is trained on")
    rates = [whole[members[task]].sum() / share for task, share in asked.items()]
    rate = max(rates) if repeat else min(rates)
    wanted = np.zeros(len(sources), dtype=np.int64)
    for task, share in asked.items():
        steps = max(int(rate * share + 1e-9), len(members[task]))
        wanted[members[task]] = _shared_out(steps, whole[members[task]])
    return wanted if repeat else np.minimum(wanted, whole)


def _shared_out(steps: int, weights: np.ndarray) -> np.ndarray:
    """Return ``steps`` shared out by ``weights``, at least one each, largest remainders first."""
    exact = (steps - len(weights)) * weights / weights.sum()
    shares = np.floor(exact).astype(np.int64)
    rest = steps - len(weights) - int(shares.sum())
    shares[np.argsort(-(exact - shares), kind="stable")[:rest]] += 1
    return shares + 1


def _order(source: SourceRange, whole: int, wanted: int, size: int, key: tuple[int, int, int]) -> np.ndarray:
    """Return the ``wanted`` * ``size`` examples of one epoch, in drawing order."""
    seed, number, epoch = key
    if wanted == 0:
        return np.empty(0, dtype=np.int64)
    windows = max(whole // wanted, 1)  # epochs that share one pass through the source
    passes = -(-wanted // whole)  # passes within one epoch, above 1 only when repeated
    first = epoch // windows if passes == 1 else epoch * passes
    drawn = [np.random.default_rng((seed, number, first + offset)) for offset in range(passes)]
    count = source.stop - source.start
    order = np.concatenate([source.start + generator.permutation(count)[: whole * size] for generator in drawn])
    begin = (epoch % windows) * wanted * size if passes == 1 else 0
    return order[begin : begin + wanted * size]


def _spread(wanted: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a source for every step, each source's steps spread evenly with jitter, int16."""
    step_source = np.repeat(np.arange(len(wanted), dtype=np.int16), wanted)
    within = np.concatenate([np.arange(count) for count in wanted])
    position = (within + generator.random(len(within))) / np.repeat(wanted, wanted)
    return step_source[np.argsort(position, kind="stable")]
