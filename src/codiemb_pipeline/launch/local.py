"""Work shared out over the processes of this machine, one for each GPU: what mine and evaluate use.

Knows nothing of what the work is.
"""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from tqdm import tqdm

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.launch.torchrun import Rendezvous, Work, run_torchrun
from codiemb_pipeline.launch.worker import forget_errors
from codiemb_pipeline.params.launch import LaunchParams, Processes

POLL_S = 0.5

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """What a bar shows while processes work.

    Attributes:
        count: returns how many jobs are done, and of how many as far as is known.
        unit: of one job.
    """

    count: Callable[[], tuple[int, int]]
    unit: str


def count_processes(wanted: Processes, where: str) -> int:
    """Return with how many processes to work on this machine.

    Args:
        wanted: the parameter.
        where: its name, for the error.

    Raises:
        InputError: there are GPUs, but fewer than processes.
    """
    from torch.cuda import device_count

    gpus = device_count()
    if wanted == "auto":
        return max(gpus, 1)
    if gpus and wanted > gpus:
        raise InputError(f"params.yaml: {where}: expected at most one process for each GPU ({gpus}), found {wanted}")
    return wanted


def run_here(processes: int, work: Work, progress: Progress, lock: int) -> None:
    """Run ``work`` in so many processes of this machine to its end, showing how far it is.

    Args:
        processes: how many.
        work: what they run.
        progress: what the bar shows.
        lock: descriptor of the folder's lock, inherited so that it is held while any process may still write.

    Raises:
        PipelineError: it failed; says which process, why, and where its log is.
    """
    forget_errors(work.folder)
    launch = LaunchParams(nproc_per_node=processes, nnodes=1, rendezvous_endpoint=None, backend="gloo", threads=None)
    logger.info("%s in %d processes; their logs: %s", work.name, processes, work.folder / "logs")
    rendezvous = Rendezvous(launch, None, uuid4().hex, first=True)
    run_torchrun(rendezvous, work, (lock,), lambda process: _show(process, work.name, progress))


def _show(process: subprocess.Popen, name: str, progress: Progress) -> None:
    with tqdm(desc=name, unit=progress.unit, disable=None) as bar:
        while process.poll() is None:
            done, bar.total = progress.count()
            bar.update(done - bar.n)
            time.sleep(POLL_S)
