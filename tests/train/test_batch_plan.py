from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.model_input import SourceRange
from codiemb_pipeline.train.batch_plan import EpochPlan, plan_epoch

BALANCED = {"ir": 1.0, "sts": 1.0}


def ranges(*sizes: tuple[str, str, int]) -> list[SourceRange]:
    start, entries = 0, []
    for name, task, size in sizes:
        entries.append(SourceRange(name=name, task=task, start=start, stop=start + size))
        start += size
    return entries


def plan(sources: list[SourceRange], **changes: object) -> EpochPlan:
    settings_ = {
        "batch_sizes": {"ir": 4, "sts": 2},
        "world_size": 2,
        "accumulation": 1,
        "steps_per_task": None,
        "repeat": False,
        "seed": 7,
        "epoch": 0,
    }
    return plan_epoch(sources, **{**settings_, **changes})


def drawn(epoch: EpochPlan) -> np.ndarray:
    parts = [
        epoch.examples(step, micro_batch, rank)
        for step in range(len(epoch))
        for micro_batch in range(epoch.accumulation)
        for rank in range(epoch.world_size)
    ]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


SIZES = st.lists(st.tuples(st.sampled_from(["ir", "sts"]), st.integers(1, 400)), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None)
@given(
    sizes=SIZES,
    ir=st.integers(1, 9),
    sts=st.integers(1, 9),
    world=st.integers(1, 64),
    accumulation=st.integers(1, 4),
    epoch=st.integers(0, 5),
    balanced=st.booleans(),
)
def test_every_invariant_holds_for_any_sizes_and_worlds(sizes, ir, sts, world, accumulation, epoch, balanced):
    batch = {"ir": ir, "sts": sts}
    sources = ranges(*((f"s{place}", task, size) for place, (task, size) in enumerate(sizes)))
    options = {"batch_sizes": batch, "world_size": world, "accumulation": accumulation, "epoch": epoch}
    options["steps_per_task"] = {source.task: 1.0 for source in sources} if balanced else None
    if any(source.stop - source.start < batch[source.task] * world * accumulation for source in sources):
        with pytest.raises(InputError, match="do not fill one global batch"):
            plan(sources, **options)
        return
    made = plan(sources, **options)
    for step in range(len(made)):
        source = made.source(step)
        parts = [made.examples(step, m, r) for m in range(accumulation) for r in range(world)]
        assert {len(part) for part in parts} == {batch[source.task]}
        joint = np.concatenate(parts)
        assert ((joint >= source.start) & (joint < source.stop)).all()
    everything = drawn(made)
    assert len(np.unique(everything)) == len(everything)
    assert set(made.step_source.tolist()) == set(range(len(sources)))  # no source starves
    for number, source in enumerate(sources):
        used = ((everything >= source.start) & (everything < source.stop)).sum()
        assert made.unused[source.name] == source.stop - source.start - used
        if not balanced:
            tail = (source.stop - source.start) % (batch[source.task] * world * accumulation)
            assert made.unused[source.name] == tail, number
    again = plan(sources, **options)
    assert (again.step_source == made.step_source).all()
    assert (drawn(again) == everything).all()


def test_accumulation_loses_no_micro_batch():
    """Defect 2 of the released code: with accumulation g it trained on 1/g of each global batch.

    1,000 examples, batch 10, 4 processes, g = 2: 12 whole global batches of 80 make 960 distinct examples.
    """
    made = plan(ranges(("a", "ir", 1000)), batch_sizes={"ir": 10, "sts": 1}, world_size=4, accumulation=2)
    assert len(made) == 12
    assert len(np.unique(drawn(made))) == 960


def test_processes_share_one_permutation():
    """Defect 3: each process shuffled with its own seed; 4 processes drew 1,000 indices, 687 distinct."""
    made = plan(ranges(("a", "ir", 1000)), batch_sizes={"ir": 10, "sts": 1}, world_size=4)
    assert len(np.unique(drawn(made))) == 1000


def test_tasks_get_the_steps_asked_for():
    """40 ir batches and 10 sts batches at 3:1: the sts data allow 10 steps, so ir gets 30."""
    sources = ranges(("a", "ir", 320), ("b", "sts", 40))
    made = plan(sources, steps_per_task={"ir": 3.0, "sts": 1.0})
    assert np.bincount(made.step_source).tolist() == [30, 10]


def test_repeat_goes_through_a_small_source_again_instead_of_cutting_the_other():
    sources = ranges(("a", "ir", 320), ("b", "sts", 40))
    made = plan(sources, steps_per_task=BALANCED, repeat=True)
    assert np.bincount(made.step_source).tolist() == [40, 40]
    seen = drawn(made)
    _, counts = np.unique(seen[seen >= 320], return_counts=True)
    assert counts.tolist() == [4] * 40


def test_later_epochs_take_up_what_an_earlier_one_left_out():
    """ir has 40 batches, an epoch takes 10: four epochs see all 320 examples once."""
    sources = ranges(("a", "ir", 320), ("b", "sts", 40))
    epochs = [drawn(plan(sources, steps_per_task=BALANCED, epoch=epoch)) for epoch in range(4)]
    seen = np.concatenate(epochs)
    assert sorted(seen[seen < 320].tolist()) == list(range(320))


def test_another_epoch_has_another_order():
    sources = ranges(("a", "ir", 320))
    assert (drawn(plan(sources, epoch=0)) != drawn(plan(sources, epoch=1))).any()


def test_steps_of_a_small_source_are_spread_over_the_epoch():
    sources = ranges(("a", "ir", 320), ("b", "sts", 16))
    places = np.flatnonzero(plan(sources).step_source == 1)
    quarters = (places * 4 // 44).tolist()
    assert quarters == [0, 1, 2, 3]


def test_a_task_without_a_source_is_an_error():
    with pytest.raises(InputError, match=r"steps_per_task\.sts"):
        plan(ranges(("a", "ir", 320)), steps_per_task=BALANCED)
