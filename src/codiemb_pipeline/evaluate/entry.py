"""The module that torchrun starts, once per process: each process takes one job after another."""

from codiemb_pipeline.launch.worker import die_with_parent

die_with_parent()  # before torch is imported, which takes seconds

from typing import Any  # noqa: E402

from codiemb_pipeline.distributed import take_own_gpu  # noqa: E402
from codiemb_pipeline.evaluate.parallel import evaluate_claimed  # noqa: E402
from codiemb_pipeline.launch.worker import run_worker  # noqa: E402


def evaluate(config: dict[str, Any]) -> None:
    """Evaluate on this process's own GPU, where there are GPUs."""
    take_own_gpu()
    evaluate_claimed(config)


if __name__ == "__main__":
    run_worker(evaluate)
