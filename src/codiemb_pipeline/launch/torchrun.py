"""Builds and runs the torchrun command, for a training or for work shared by the processes of this machine.

The terminal belongs to this process alone: workers and torchrun write to log files, and a failure is reported in a few
lines at the end.
"""

import errno
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from uuid import uuid4

from codiemb_pipeline.errors import InputError, PipelineError
from codiemb_pipeline.launch.cores import usable_cores
from codiemb_pipeline.launch.worker import errors_in, forget_errors
from codiemb_pipeline.params.launch import LaunchParams, Processes
from codiemb_pipeline.process_guard import die_with_parent
from codiemb_pipeline.progress import ProgressBar

GRACE_S = 8.0
POLL_S = 0.5
LOG_FILE = "torchrun.log"
SHARED_MEMORY = Path("/dev/shm")
LEAST_FREE = 2**20
"""Bytes below which a disk counts as full."""
RENDEZVOUS_VARIABLE = "CODIEMB_RENDEZVOUS"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What the processes run.

    Attributes:
        name: for messages: ``training``.
        function: ``<module>:<function>``, called with the content of ``config`` in every process (``launch.worker``).
        config: JSON that holds all it needs.
        folder: receives logs and errors.
        to_lower: the parameters that reduce memory, in words.
        kept: what a failure leaves behind, in words.
        tokenizes: whether these processes tokenise, with several threads; in a training, loader workers do.
    """

    name: str
    function: str
    config: Path
    folder: Path
    to_lower: str
    kept: str
    tokenizes: bool = True


@dataclass(frozen=True)
class Rendezvous:
    """Where the machines of one launch meet.

    Attributes:
        launch: number and kind of the processes.
        endpoint: ``host:port``; ``None`` for one machine.
        id: of this attempt, so that no other machine joins it by mistake.
        first: whether this is the machine the stage runs on.
    """

    launch: LaunchParams
    endpoint: str | None
    id: str
    first: bool


@dataclass(frozen=True)
class Jobs:
    """What a bar shows while processes work: ``count`` returns jobs done and jobs known, of which ``unit`` is one."""

    count: Callable[[], tuple[int, int]]
    unit: str


def processes_per_node(launch: LaunchParams) -> int:
    """Return the number of processes of one machine, ``auto`` resolved on this one.

    Raises:
        InputError: there is no GPU to count.
    """
    if launch.nproc_per_node != "auto":
        return launch.nproc_per_node
    if launch.backend == "gloo":
        return usable_cores()
    from torch.cuda import device_count

    if (count := device_count()) == 0:
        raise InputError("params.yaml: train.launch.nproc_per_node: auto with backend nccl: expected GPUs, found none")
    return count


def count_processes(wanted: Processes, where: str) -> int:
    """Return how many processes share the work on this machine, ``wanted`` being the parameter named ``where``.

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


def torchrun_command(rendezvous: Rendezvous, work: Work, logs: Path) -> list[str]:
    """Return the command that starts the processes of this machine."""
    launch = rendezvous.launch
    place = ["--standalone"]
    if rendezvous.endpoint is not None:
        place = ["--rdzv-backend", "c10d", "--rdzv-endpoint", rendezvous.endpoint, "--rdzv-id", rendezvous.id]
        place += ["--rdzv-conf", f"is_host={rendezvous.first}", "--local-addr", _own_address(rendezvous.endpoint)]
    return [
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--nnodes", str(launch.nnodes), "--nproc-per-node", str(processes_per_node(launch)), *place),
        *("--redirects", "3", "--log-dir", str(logs)),
        *("-m", "codiemb_pipeline.launch.worker", work.function, str(work.config)),
    ]


def rendezvous_endpoint(launch: LaunchParams) -> str | None:
    """Return ``host:port`` where the machines meet, the environment's before that of the parameters.

    Raises:
        InputError: several machines, and neither gives an endpoint.
    """
    endpoint = os.environ.get(RENDEZVOUS_VARIABLE) or launch.rendezvous_endpoint
    if launch.nnodes > 1 and endpoint is None:
        raise InputError(
            f"params.yaml: train.launch.nnodes is {launch.nnodes}: expected rendezvous_endpoint there, or "
            f"{RENDEZVOUS_VARIABLE} in the environment, as host:port; found neither"
        )
    return endpoint if launch.nnodes > 1 else None


def _check_free(endpoint: str) -> None:
    """Raise InputError where the port of an endpoint on this machine is taken."""
    address, (*_, port) = _own_address(endpoint), endpoint.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, int(port)))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise InputError(
                    f"rendezvous endpoint {endpoint!r}: expected a free port, found one that another program holds; "
                    f"choose another in train.launch.rendezvous_endpoint or {RENDEZVOUS_VARIABLE}"
                ) from error


def _own_address(endpoint: str) -> str:
    """Return the address under which this machine is seen from ``host:port``; sends nothing.

    Raises:
        InputError: the host has no address here.
    """
    host, _, port = endpoint.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, int(port)))
        except (OSError, ValueError) as error:
            raise InputError(f"rendezvous endpoint {endpoint!r}: expected host:port, reachable: {error}") from error
        return probe.getsockname()[0]


def run_torchrun(
    rendezvous: Rendezvous,
    work: Work,
    descriptors: tuple[int, ...] = (),
    wait: Callable[[subprocess.Popen], object] = subprocess.Popen.wait,
) -> None:
    """Run the processes of this machine to their end; when this process dies, they die.

    Args:
        rendezvous: the processes and where they meet.
        work: what they run.
        descriptors: open files that they inherit.
        wait: returns when the process has ended.

    Raises:
        InputError: the port where the machines meet is taken.
        PipelineError: it failed; names the process, the reason and the log.
    """
    if rendezvous.endpoint is not None and rendezvous.first:
        _check_free(rendezvous.endpoint)
    processes, cores = processes_per_node(rendezvous.launch), usable_cores()
    if processes > cores:
        logger.warning("%s in %d processes on %d cores: they wait for each other", work.name, processes, cores)
    logs = work.folder / "logs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{socket.gethostname()}-{os.getpid()}"
    logs.mkdir(parents=True, exist_ok=True)
    threads = rendezvous.launch.threads or os.environ.get("OMP_NUM_THREADS")
    threads = threads or max(1, cores // processes)
    environment = {"RAYON_NUM_THREADS": str(threads), **os.environ, "OMP_NUM_THREADS": str(threads)}
    environment["TOKENIZERS_PARALLELISM"] = "true" if work.tokenizes else "false"
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    with (logs / LOG_FILE).open("wb") as log:
        process = subprocess.Popen(
            torchrun_command(rendezvous, work, logs),
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=descriptors,
            preexec_fn=lambda: die_with_parent(signal.SIGTERM),  # noqa: PLW1509
        )
        try:
            wait(process)
        finally:
            _end(process)
    if process.returncode != 0:
        raise PipelineError(_what_failed(work, logs))


def _end(process: subprocess.Popen) -> None:
    """End torchrun and with it the workers; a second Ctrl-C does not leave them behind."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()  # the workers die with it
            process.wait()


def _what_failed(work: Work, logs: Path) -> str:
    """Return a few lines: which process failed first, why, and where its log is."""
    text = (logs / LOG_FILE).read_text(encoding="utf-8", errors="replace")
    codes = re.findall(r"rank\s*:\s*(\d+) \(local_rank: \d+\)\s*exitcode\s*:\s*(-?\d+)", text)
    killed = [(int(rank), -int(code)) for rank, code in codes if int(code) < 0 and int(code) != -signal.SIGTERM]
    errors, log = errors_in(work.folder), logs / LOG_FILE
    if killed:
        rank, number = killed[0]
        why, log = f"process {rank} was killed by {signal.Signals(number).name}", _log_of(logs, rank)
        if number == signal.SIGKILL:
            why += f" (most often: out of memory; lower {work.to_lower})"
        if number == signal.SIGBUS:
            why += f" (most often: no room in {SHARED_MEMORY}; enlarge it, or set train.loader_workers to 0)"
    elif errors:
        first = errors[0]
        why, log = f"process {first['rank']}: {first['what']}", _log_of(logs, first["rank"])
    else:
        last = [line for line in text.splitlines() if line.strip()][-3:]
        why = "\n".join(["no process could say why; the last lines are", *last])
    return "\n".join([f"{work.name} failed: {why}", *_full_disks(work), f"log: {log}", work.kept])


def _full_disks(work: Work) -> Iterator[str]:
    """Yield a line for each place of the processes that has no room left."""
    remedies = {
        work.folder: "make room, or set CODIEMB_WORK to a folder on a larger disk",
        Path(gettempdir()): "make room, or set TMPDIR to another folder",
        SHARED_MEMORY: "enlarge it (docker run --shm-size), or set train.loader_workers to 0",
    }
    for place, remedy in remedies.items():
        if place.exists() and shutil.disk_usage(place).free < LEAST_FREE:
            yield f"{place} is full: {remedy}"


def _log_of(logs: Path, rank: int) -> Path:
    """Return the error log of process ``rank``, or torchrun's own when it ran on another machine."""
    found = sorted(logs.glob(f"**/{rank}/stderr.log"))
    return found[-1] if found else logs / LOG_FILE


def run_here(processes: int, work: Work, jobs: Jobs, lock: int) -> None:
    """Run ``work`` in so many processes of this machine to its end, with a progress bar.

    They inherit ``lock``, the descriptor of the folder's lock, so that it is held while any of them may still write.

    Raises:
        PipelineError: as :func:`run_torchrun`.
    """
    forget_errors(work.folder)
    launch = LaunchParams(nproc_per_node=processes, nnodes=1, rendezvous_endpoint=None, backend="gloo", threads=None)
    logger.info("%s in %d processes; their logs: %s", work.name, processes, work.folder / "logs")
    rendezvous = Rendezvous(launch, None, uuid4().hex, first=True)

    def show(process: subprocess.Popen) -> None:
        with ProgressBar(desc=work.name, unit=jobs.unit) as bar:
            while process.poll() is None:
                done, bar.total = jobs.count()
                bar.update(done - bar.n)
                time.sleep(POLL_S)

    run_torchrun(rendezvous, work, (lock,), show)
