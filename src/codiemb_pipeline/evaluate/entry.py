"""What torchrun starts, once per process, where several judge: each takes job after job."""

from __future__ import annotations

from codiemb_pipeline.launch.process_guard import die_with_parent

die_with_parent()  # before torch is imported, which takes seconds

from typing import Any  # noqa: E402

from codiemb_pipeline.distributed import take_own_gpu  # noqa: E402
from codiemb_pipeline.evaluate.share import judge_claimed  # noqa: E402
from codiemb_pipeline.launch.worker import run_worker  # noqa: E402


def judge(config: dict[str, Any]) -> None:
    """Judge on this process's own GPU, where there are GPUs."""
    take_own_gpu()
    judge_claimed(config)


if __name__ == "__main__":
    run_worker(judge)
