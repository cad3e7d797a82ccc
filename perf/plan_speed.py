"""Planning an epoch of ten million examples: seconds and memory, beside one shuffle of as many numbers.

    python perf/plan_speed.py

The peer is the least any sampler has to do, ``numpy.random.Generator.permutation`` of all examples. The limits we set
ourselves: under 5 seconds and under 1 GiB.
"""

import resource
import sys
import time

import numpy as np

from codiemb_pipeline.artifacts.assemble import SourceRange
from codiemb_pipeline.params.train import SamplerParams
from codiemb_pipeline.train.batch_plan import plan_epoch

EXAMPLES = 10_000_000
SOURCES = (
    ("t2", "ir", 0.4),
    ("dureader", "ir", 0.2),
    ("mmarco", "ir", 0.25),
    ("lcqmc", "sts", 0.1),
    ("bq", "sts", 0.05),
)
ROUNDS = 3


def main() -> None:
    """Print the best of some rounds of each."""
    sources, start = [], 0
    for name, task, share in SOURCES:
        stop = start + int(EXAMPLES * share)
        sources.append(SourceRange(name=name, task=task, start=start, stop=stop))
        start = stop
    peer = min(_seconds(lambda: np.random.default_rng(1).permutation(EXAMPLES)) for _ in range(ROUNDS))
    sys.stdout.write(f"permutation of {EXAMPLES:,}: {peer:.2f} s\n")
    plain = {"source_weights": None, "size_temperature": 1.0}
    even = {**plain, "steps_per_task": {"ir": 1, "sts": 1}, "repeat": True}
    for label, values in (
        ("as the data are", {**plain, "mode": "dynamic", "steps_per_task": None, "repeat": False}),
        ("tasks 1:1, repeated", {**even, "mode": "dynamic"}),
        ("tasks 1:1, mixed", {**even, "mode": "mixed"}),
    ):
        sampler = SamplerParams.parse(values, "sampler")
        options = {"batch_sizes": {"ir": 28, "sts": 32}, "world_size": 8, "accumulation": 1, "seed": 1, "epoch": 0}
        best = min(
            _seconds(lambda: plan_epoch(sources, sampler=sampler, **options))  # noqa: B023
            for _ in range(ROUNDS)
        )
        sys.stdout.write(f"plan, {label}: {best:.2f} s, {best / peer:.1f} times the permutation\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    sys.stdout.write(f"largest resident memory of this process: {peak:.2f} GiB\n")


def _seconds(run) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
