import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_params import sampler_params

from codiemb_pipeline.artifacts.assemble import SourceRange
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.train import SamplerParams
from codiemb_pipeline.train.batch_plan import EpochPlan, plan_epoch

BALANCED = {"ir": 1.0, "sts": 1.0}


def ranges(*sizes: tuple[str, str, int]) -> list[SourceRange]:
    start, entries = 0, []
    for name, task, size in sizes:
        entries.append(SourceRange(name=name, task=task, start=start, stop=start + size))
        start += size
    return entries


def plan(sources: list[SourceRange], **changes: object) -> EpochPlan:
    sampling = {name: changes.pop(name) for name in list(changes) if name in SamplerParams.model_fields}
    settings_ = {
        "batch_sizes": {"ir": 4, "sts": 2},
        "world_size": 2,
        "accumulation": 1,
        "sampler": sampler_params(**sampling),
        "seed": 7,
        "epoch": 0,
    }
    return plan_epoch(sources, **{**settings_, **changes})


def steps_by_source(made: EpochPlan) -> list[int]:
    """Numbers of steps of each source; of global batches, where sources are mixed."""
    slots = np.bincount(made.slot_source, minlength=len(made.sources))
    return (slots // (made.world_size * made.accumulation)).tolist()


def drawn(epoch: EpochPlan) -> np.ndarray:
    parts = [
        epoch.examples(step, micro_batch, rank)
        for step in range(len(epoch))
        for micro_batch in range(epoch.accumulation)
        for rank in range(epoch.world_size)
    ]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


# Task, whole global batches, and the tail as a share of one.
SIZES = st.lists(
    st.tuples(st.sampled_from(["ir", "sts"]), st.sampled_from([0, 1, 1, 2, 3, 5, 9, 14]), st.floats(0, 0.99)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(
    sizes=SIZES,
    ir=st.integers(1, 9),
    sts=st.integers(1, 9),
    world=st.integers(1, 64),
    accumulation=st.integers(1, 4),
    epoch=st.integers(0, 5),
    balanced=st.booleans(),
    mode=st.sampled_from(["dynamic", "mixed"]),
    temperature=st.sampled_from([1.0, 2.0, 100.0]),
)
def test_every_invariant_holds_for_any_sizes_and_worlds(
    sizes, ir, sts, world, accumulation, epoch, balanced, mode, temperature
):
    batch = {"ir": ir, "sts": sts}
    whole = [batch[task] * world * accumulation for task, *_ in sizes]
    counts = [max(int((batches + tail) * size), 1) for (_, batches, tail), size in zip(sizes, whole, strict=True)]
    sources = ranges(*((f"s{n}", task, count) for n, ((task, *_), count) in enumerate(zip(sizes, counts, strict=True))))
    options = {"batch_sizes": batch, "world_size": world, "accumulation": accumulation, "epoch": epoch}
    options |= {"mode": mode, "size_temperature": temperature}
    tasks = {source.task for source in sources}
    options["steps_per_task"] = {task: float(task in tasks) for task in BALANCED} if balanced else None
    if any(source.stop - source.start < batch[source.task] * world * accumulation for source in sources):
        with pytest.raises(InputError, match="do not fill one global batch"):
            plan(sources, **options)
        return
    made = plan(sources, **options)
    for step in range(len(made)):
        slots = [(step, m, r) for m in range(accumulation) for r in range(world)]
        for slot in slots:
            source, part = made.source(*slot), made.examples(*slot)
            assert len(part) == batch[source.task]
            assert ((part >= source.start) & (part < source.stop)).all()
        assert mode == "mixed" or len({made.source(*slot).name for slot in slots}) == 1
    everything = drawn(made)
    assert len(np.unique(everything)) == len(everything)
    assert set(made.slot_source.tolist()) == set(range(len(sources)))  # no source starves
    for number, source in enumerate(sources):
        used = ((everything >= source.start) & (everything < source.stop)).sum()
        assert made.unused[source.name] == source.stop - source.start - used
        if not balanced and temperature == 1.0:
            tail = (source.stop - source.start) % (batch[source.task] * world * accumulation)
            assert made.unused[source.name] == tail, number
    again = plan(sources, **options)
    assert (again.slot_source == made.slot_source).all()
    assert (drawn(again) == everything).all()


def test_defect_2_accumulation_loses_no_micro_batch():
    """Defect 2 of the released code: with accumulation g it trained on 1/g of each global batch.

    1,000 examples, batch 10, 4 processes, g = 2: 12 whole global batches of 80 make 960 distinct examples.
    """
    made = plan(ranges(("a", "ir", 1000)), batch_sizes={"ir": 10, "sts": 1}, world_size=4, accumulation=2)
    assert len(made) == 12
    assert len(np.unique(drawn(made))) == 960


@pytest.mark.parametrize("mode", ["dynamic", "mixed"])
def test_defect_3_processes_share_one_permutation(mode):
    """Defect 3: each process shuffled with its own seed; 4 processes drew 1,000 indices, 687 distinct."""
    made = plan(ranges(("a", "ir", 1000)), batch_sizes={"ir": 10, "sts": 1}, world_size=4, mode=mode)
    assert len(np.unique(drawn(made))) == 1000


def test_tasks_get_the_steps_asked_for():
    """40 ir batches and 10 sts batches at 3:1: the sts data allow 10 steps, so ir gets 30."""
    sources = ranges(("a", "ir", 320), ("b", "sts", 40))
    made = plan(sources, steps_per_task={"ir": 3.0, "sts": 1.0})
    assert steps_by_source(made) == [30, 10]


def test_repeat_goes_through_a_small_source_again_instead_of_cutting_the_other():
    sources = ranges(("a", "ir", 320), ("b", "sts", 40))
    made = plan(sources, steps_per_task=BALANCED, repeat=True)
    assert steps_by_source(made) == [40, 40]
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
    places = np.flatnonzero(plan(sources).slot_source[::2] == 1)
    quarters = (places * 4 // 44).tolist()
    assert quarters == [0, 1, 2, 3]


def test_a_task_without_a_source_is_an_error():
    with pytest.raises(InputError, match=r"steps_per_task\.sts"):
        plan(ranges(("a", "ir", 320)), steps_per_task=BALANCED)


def test_mixed_steps_draw_the_same_examples_as_dynamic_ones():
    """The baseline differs in what meets in a step, not in what is seen in an epoch nor in the number of steps."""
    sources = ranges(("a", "ir", 320), ("b", "sts", 160))
    dynamic, mixed = (plan(sources, steps_per_task=BALANCED, mode=mode) for mode in ("dynamic", "mixed"))
    assert len(mixed) == len(dynamic)
    assert sorted(drawn(mixed)) == sorted(drawn(dynamic))
    tasks = [{mixed.source(step, 0, rank).task for rank in range(2)} for step in range(len(mixed))]
    assert {"ir", "sts"} in tasks


def test_weights_decide_the_steps_of_single_sources():
    """20 and 20 batches at 3:1 without repeats: the first source gives 20 of 26 steps, 20 / 3 rounded down and up."""
    sources = ranges(("a", "ir", 160), ("b", "ir", 160))
    assert steps_by_source(plan(sources, source_weights={"a": 3.0, "b": 1.0})) == [20, 6]


def test_size_temperature_brings_sources_together():
    """64 and 4 batches; at temperature 2 as 8 to 2, so with 4 of the second there are 16 of the first."""
    sources = ranges(("a", "ir", 512), ("b", "ir", 32))
    assert steps_by_source(plan(sources)) == [64, 4]
    assert steps_by_source(plan(sources, size_temperature=2.0)) == [16, 4]
    assert steps_by_source(plan(sources, size_temperature=2.0, repeat=True)) == [64, 16]


def test_shares_of_tasks_hold_whatever_the_weights_within_them():
    """ir: 16 + 16 batches, of which weights 3:1 allow 16 + 5; sts: 8 of 8. At 1:1 the 8 steps decide: ir 6 + 2."""
    sources = ranges(("a", "ir", 128), ("b", "ir", 128), ("c", "sts", 32))
    weights = {"a": 3.0, "b": 1.0, "c": 1.0}
    assert steps_by_source(plan(sources, steps_per_task=BALANCED, source_weights=weights)) == [6, 2, 8]


@pytest.mark.parametrize(("weights", "message"), [({"a": 1.0}, "'b'"), ({"a": 1.0, "b": 1.0, "c": 1.0}, r"\.c")])
def test_weights_name_each_source_and_no_other(weights, message):
    with pytest.raises(InputError, match=message):
        plan(ranges(("a", "ir", 160), ("b", "ir", 160)), source_weights=weights)


def test_a_tiny_source_has_a_step_beside_a_huge_one():
    sources = ranges(("a", "ir", 80_000), ("b", "ir", 8), ("c", "ir", 8))
    assert steps_by_source(plan(sources)) == [10_000, 1, 1]
    assert min(steps_by_source(plan(sources, size_temperature=1.5))) == 1


def test_ten_million_examples_are_planned_in_little_memory():
    """The limits are 5 seconds and 1 GiB (perf/plan_speed.py); memory is held here, in a process of its own.

    VmHWM, and not getrusage's maximum, which a child inherits from the process it was started by.
    """
    code = """
from pathlib import Path
from codiemb_pipeline.artifacts.assemble import SourceRange
from objective_params import sampler_params
from codiemb_pipeline.train.batch_plan import plan_epoch
half = 5_000_000
sources = [SourceRange(name=t, task=t, start=n * half, stop=(n + 1) * half) for n, t in enumerate(("ir", "sts"))]
made = plan_epoch(sources, batch_sizes={"ir": 28, "sts": 32}, world_size=8, accumulation=1,
                  sampler=sampler_params(steps_per_task={"ir": 1, "sts": 1}), seed=1, epoch=0)
assert len(made) == 2 * (half // 256)
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1024**2  # KiB
