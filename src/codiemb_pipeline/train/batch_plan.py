"""Which examples form micro-batch m of step s on process r: a pure function of the sizes, the seed and the epoch.

Every step draws from one source, the same on all processes (except in the baseline ``mixed``); processes hold disjoint
parts. The plan is NumPy integers, without tensors or a process group, so a test can inspect all processes at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codiemb_pipeline.artifacts.assemble import SourceRange
from codiemb_pipeline.errors import InputError, nearest
from codiemb_pipeline.params.train import SamplerParams
from codiemb_pipeline.schema import TASKS, Task


@dataclass(frozen=True)
class EpochPlan:
    """One epoch, as slots: a slot is one micro-batch on one process, all of one source.

    Attributes:
        slot_source: int16 (S * A * W,), positions in ``sources``; steps outermost, then micro-batches, then processes.
        slot_batch: int64 (S * A * W,), which batch of its source's order a slot takes.
        orders: per source, example numbers in drawing order, int64.
        batch_sizes: per process and micro-batch, by task.
        world_size, accumulation: W and A.
        unused: number of examples of each source that this epoch does not use.
    """

    sources: Sequence[SourceRange]
    slot_source: np.ndarray
    slot_batch: np.ndarray
    orders: Sequence[np.ndarray]
    batch_sizes: Mapping[Task, int]
    world_size: int
    accumulation: int
    unused: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.slot_source) // (self.accumulation * self.world_size)

    def source(self, step: int, micro_batch: int = 0, process_rank: int = 0) -> SourceRange:
        """Return the source of a slot; unless sources are mixed, all slots of ``step`` have the same one."""
        return self.sources[int(self.slot_source[self._slot(step, micro_batch, process_rank)])]

    def examples(self, step: int, micro_batch: int, process_rank: int) -> np.ndarray:
        """Return the example numbers of one micro-batch on one process, int64 (B,)."""
        slot = self._slot(step, micro_batch, process_rank)
        number, batch = int(self.slot_source[slot]), int(self.slot_batch[slot])
        size = self.batch_sizes[self.sources[number].task]
        return self.orders[number][batch * size : (batch + 1) * size]

    def _slot(self, step: int, micro_batch: int, process_rank: int) -> int:
        return (step * self.accumulation + micro_batch) * self.world_size + process_rank


def plan_epoch(
    sources: Sequence[SourceRange],
    *,
    batch_sizes: Mapping[Task, int],
    world_size: int,
    accumulation: int,
    sampler: SamplerParams,
    seed: int,
    epoch: int,
) -> EpochPlan:
    """Plan one epoch (CoDiEmb, section 2.2: one task per step, batch size by task, steps per task balanced).

    A source gives as many whole global batches (batch size * processes * accumulation) as it holds; the shorter tail is
    not used. If ``sampler`` needs fewer, an epoch takes the next window of the source's current pass, and later epochs
    see the rest. If it needs more, the source is repeated (``repeat``), or the other sources are cut to match. Every
    source has at least one step, and its steps are spread evenly over the epoch.

    Mode ``mixed`` is the baseline of the released code: the micro-batches of one step may be of different sources.
    Theirs shuffles with a different seed on each process, which repeats some examples and drops others; here there is
    one permutation, and processes hold disjoint parts of it.

    Args:
        sources: ranges of examples, one per source.
        batch_sizes: examples per process and micro-batch, by task.
        world_size: number of processes.
        accumulation: micro-batches per step.
        sampler: mode, and numbers of steps.
        seed, epoch: decide everything random; the first epoch is 0.

    Raises:
        InputError: a source is smaller than one global batch or has no weight, or a task asked for has no source.
    """
    slots_per_step = world_size * accumulation
    whole = _whole_batches(sources, batch_sizes, slots_per_step)
    wanted = _wanted_batches(sources, whole, sampler)
    orders, unused = [], {}
    for number, source in enumerate(sources):
        size = batch_sizes[source.task] * slots_per_step
        order = _order(source, int(whole[number]), int(wanted[number]), size, (seed, number, epoch))
        orders.append(order)
        left = np.ones(source.stop - source.start, dtype=bool)
        left[order - source.start] = False
        unused[source.name] = int(left.sum())
    generator = np.random.default_rng((seed, len(sources), epoch))
    if sampler.mode == "mixed":
        slot_source = _spread(wanted * slots_per_step, generator)
    else:
        slot_source = np.repeat(_spread(wanted, generator), slots_per_step)
    slot_batch = np.empty(len(slot_source), dtype=np.int64)
    for number in range(len(sources)):
        mine = np.flatnonzero(slot_source == number)
        slot_batch[mine] = np.arange(len(mine))
    return EpochPlan(sources, slot_source, slot_batch, orders, batch_sizes, world_size, accumulation, unused)


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


def _wanted_batches(sources: Sequence[SourceRange], whole: np.ndarray, sampler: SamplerParams) -> np.ndarray:
    """Return how many global batches each source gives in an epoch."""
    weights = _source_weights(sources, whole, sampler)
    shares: Mapping[str, float] = {"": 1.0}
    members = {"": np.arange(len(sources))}
    if sampler.steps_per_task is not None:
        shares = {task: share for task, share in sampler.steps_per_task if share > 0}
        members = {task: np.array([n for n, source in enumerate(sources) if source.task == task]) for task in TASKS}
    for task in shares:
        if len(members[task]) == 0:
            raise InputError(f"params.yaml: train.sampler.steps_per_task.{task}: no source of that task is trained on")
    extreme = max if sampler.repeat else min  # the first source to run out ends the epoch, or the last
    rate = extreme(
        extreme(whole[members[task]] * (weights[members[task]].sum() / weights[members[task]])) / share
        for task, share in shares.items()
    )
    wanted = np.zeros(len(sources), dtype=np.int64)
    for task, share in shares.items():
        steps = max(int(rate * share * (1 + 1e-12) + 1e-9), len(members[task]))
        wanted[members[task]] = _shared_out(steps, weights[members[task]])
    return wanted if sampler.repeat else np.minimum(wanted, whole)


def _source_weights(sources: Sequence[SourceRange], whole: np.ndarray, sampler: SamplerParams) -> np.ndarray:
    """Return the relative number of steps of each source."""
    given = sampler.source_weights
    if given is None:
        return whole.astype(np.float64) ** (1.0 / sampler.size_temperature)
    names = [source.name for source in sources]
    for name in given:
        if name not in names:
            raise InputError(
                f"params.yaml: train.sampler.source_weights.{name}: no source of that name is trained on"
                f"{nearest(name, names)}"
            )
    for name in names:
        if name not in given:
            raise InputError(f"params.yaml: train.sampler.source_weights: expected a weight for {name!r}, found none")
    return np.array([given[name] for name in names])


def _shared_out(steps: int, weights: np.ndarray) -> np.ndarray:
    """Return ``steps`` shared out by ``weights``, largest remainders first, at least one each."""
    exact = steps * weights / weights.sum()
    shares = np.maximum(np.floor(exact + 1e-9), 1).astype(np.int64)
    rest = steps - int(shares.sum())
    if rest > 0:
        shares[np.argsort(-(exact - shares), kind="stable")[:rest]] += 1
    for _ in range(-rest):  # small sources were given their one step at the cost of the largest
        shares[np.argmax(shares)] -= 1
    return shares


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
