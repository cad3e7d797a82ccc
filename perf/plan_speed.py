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
from codiemb_pipeline.train.batch_plan import Balance, plan_epoch

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
    for label, balance, mixed in (
        ("as the data are", Balance(), False),
        ("tasks 1:1, repeated", Balance(steps_per_task={"ir": 1, "sts": 1}, repeat=True), False),
        ("tasks 1:1, mixed", Balance(steps_per_task={"ir": 1, "sts": 1}, repeat=True), True),
    ):
        options = {"batch_sizes": {"ir": 28, "sts": 32}, "world_size": 8, "accumulation": 1, "seed": 1, "epoch": 0}
        best = min(
            _seconds(lambda: plan_epoch(sources, balance=balance, mixed=mixed, **options))  # noqa: B023
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
