"""Builds and runs the torchrun command: the only subprocess of the pipeline.

The terminal belongs to this process alone: workers and torchrun write to log files, progress comes from the event file
process 0 writes, and a failure is told in a few lines, last. With several machines, ``meeting.json`` in the run's
folder, which all of them see, tells the others what to join (``train.join``). Knows nothing of what is trained.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from tqdm import tqdm

from codiemb_pipeline.errors import InputError, PipelineError
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.params.train import LaunchParams
from codiemb_pipeline.train.events import EVENTS_FILE, read_events
from codiemb_pipeline.train.process_guard import die_with_parent

POLL_S = 0.25
GRACE_S = 8.0
LOG_FILE, MEETING_FILE = "torchrun.log", "meeting.json"
RENDEZVOUS_VARIABLE = "CODIEMB_RENDEZVOUS"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Meeting:
    """Where the machines of one training meet.

    Attributes:
        launch: processes.
        endpoint: ``host:port``; ``None`` for one machine.
        id: of this attempt; no other machine takes part in it by mistake.
        first: whether this is the machine the stage runs on.
    """

    launch: LaunchParams
    endpoint: str | None
    id: str
    first: bool


def processes_per_node(launch: LaunchParams) -> int:
    """Return the number of processes of one machine, ``auto`` resolved on this one.

    Raises:
        InputError: there is no GPU to count.
    """
    if launch.nproc_per_node != "auto":
        return launch.nproc_per_node
    if launch.backend == "gloo":
        return os.cpu_count() or 1
    from torch.cuda import device_count

    if (count := device_count()) == 0:
        raise InputError("params.yaml: train.launch.nproc_per_node: auto with backend nccl: expected GPUs, found none")
    return count


def torchrun_command(meeting: Meeting, config: Path, logs: Path) -> list[str]:
    """Return the command that starts the processes of this machine."""
    launch = meeting.launch
    place = ["--standalone"]
    if meeting.endpoint is not None:
        place = ["--rdzv-backend", "c10d", "--rdzv-endpoint", meeting.endpoint, "--rdzv-id", meeting.id]
        place += ["--rdzv-conf", f"is_host={meeting.first}", "--local-addr", _own_address(meeting.endpoint)]
    return [
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--nnodes", str(launch.nnodes), "--nproc-per-node", str(processes_per_node(launch)), *place),
        *("--redirects", "3", "--log-dir", str(logs)),
        *("-m", "codiemb_pipeline.train.entry", str(config)),
    ]


def meeting_place(launch: LaunchParams) -> str | None:
    """Return ``host:port`` where the machines meet, the environment's before that of the parameters.

    Raises:
        InputError: several machines, and neither says it.
    """
    endpoint = os.environ.get(RENDEZVOUS_VARIABLE) or launch.rendezvous_endpoint
    if launch.nnodes > 1 and endpoint is None:
        raise InputError(
            f"params.yaml: train.launch.nnodes is {launch.nnodes}: expected rendezvous_endpoint there, or "
            f"{RENDEZVOUS_VARIABLE} in the environment, as host:port; found neither"
        )
    return endpoint if launch.nnodes > 1 else None


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


def launch_training(launch: LaunchParams, config: Path, folder: Path, lock: int) -> None:
    """Train to the end, showing progress.

    Args:
        launch: processes.
        config: the resolved JSON.
        folder: the run's folder; logs and errors go there.
        lock: descriptor of the folder's lock, inherited so that it is held while any process may still write.

    Raises:
        PipelineError: the training failed; says which process, why, and where its log is.
    """
    for stale in (folder / "errors").glob("*.json"):
        stale.unlink()
    meeting = Meeting(launch, meeting_place(launch), uuid4().hex, first=True)
    if meeting.endpoint is not None:
        place = {"id": meeting.id, "endpoint": meeting.endpoint}
        values = {**place, "config": str(config), "launch": launch.model_dump(mode="json")}
        write_json(folder / f".{MEETING_FILE}", values)
        (folder / f".{MEETING_FILE}").rename(folder / MEETING_FILE)  # so that no machine reads half of it
        logger.info("waiting for %d more machines at %s", launch.nnodes - 1, meeting.endpoint)
    try:
        run_torchrun(meeting, config, folder, (lock,), lambda process: _show_progress(process, folder / EVENTS_FILE))
    finally:
        (folder / MEETING_FILE).unlink(missing_ok=True)


def run_torchrun(
    meeting: Meeting,
    config: Path,
    folder: Path,
    descriptors: tuple[int, ...],
    wait: Callable[[subprocess.Popen], object],
) -> None:
    """Run the processes of this machine to their end; when this process dies, they die.

    Args:
        meeting: processes, and where they meet.
        config: the resolved JSON.
        folder: the run's folder; logs go there.
        descriptors: open files they inherit.
        wait: returns when the process it is given has ended.

    Raises:
        PipelineError: the training failed; says which process, why, and where its log is.
    """
    logs = folder / "logs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{socket.gethostname()}-{os.getpid()}"
    logs.mkdir(parents=True, exist_ok=True)
    die_with_parent(signal.SIGTERM)
    threads = meeting.launch.threads or max(1, (os.cpu_count() or 1) // processes_per_node(meeting.launch))
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    with (logs / LOG_FILE).open("wb") as log:
        process = subprocess.Popen(
            torchrun_command(meeting, config, logs),
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
        raise PipelineError(_what_failed(folder, logs))


def _end(process: subprocess.Popen) -> None:
    """End torchrun and with it the workers; a second Ctrl-C does not leave them behind."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()  # the workers die with it
            process.wait()


def _show_progress(process: subprocess.Popen, events: Path) -> None:
    """Follow the event file until the process ends."""
    with tqdm(desc="train", unit="step", disable=None, smoothing=0.1) as bar:
        for event in _follow(process, events, since=time.time()):
            if event["kind"] == "start":
                bar.reset(event["steps"])
                bar.update(event["step"])
                _tell_start(event)
            elif event["kind"] == "step":
                bar.update(event["step"] - bar.n)
                bar.set_postfix_str(
                    f"{event['task']} loss {event['loss']:.3f}, {event['tokens_per_second']:.0f} tokens/s"
                )
            elif event["kind"] == "dev":
                scores = ", ".join(f"{name} {value:.4f}" for name, value in event["scores"].items() if "/" in name)
                logger.info("checkpoint at step %d: dev %s", event["step"], scores or "(no dev sets)")


def _tell_start(event: dict[str, Any]) -> None:
    if event["step"]:
        logger.info("going on from the checkpoint at step %d of %d", event["step"], event["steps"])
    else:
        logger.info("training for %d steps, %d an epoch", event["steps"], event["steps_per_epoch"])
    unused = ", ".join(f"{name} {count}" for name, count in event["unused"].items() if count)
    if unused:
        logger.info("examples an epoch leaves out (they come in later ones): %s", unused)
    if event["untrained"]:
        logger.info("no loss reaches, so unchanged: %s", ", ".join(event["untrained"]))


def _follow(process: subprocess.Popen, events: Path, since: float) -> Iterator[dict[str, Any]]:
    """Yield events from this launch's ``start`` on, as they are written, until the process has ended."""
    seen: int | None = None
    while True:
        ended = process.poll() is not None
        news = list(read_events(events))
        if seen is None:
            starts = [place for place, event in enumerate(news) if event.get("at", 0.0) >= since]
            seen = starts[0] if starts else None
        if seen is not None:
            yield from news[seen:]
            seen = len(news)
        if ended:
            return
        time.sleep(POLL_S)


def _what_failed(folder: Path, logs: Path) -> str:
    """Say in a few lines which process failed first, why, and where to read more."""
    text = (logs / LOG_FILE).read_text(encoding="utf-8", errors="replace")
    codes = re.findall(r"rank\s*:\s*(\d+) \(local_rank: \d+\)\s*exitcode\s*:\s*(-?\d+)", text)
    killed = [(int(rank), -int(code)) for rank, code in codes if int(code) < 0 and int(code) != -signal.SIGTERM]
    more = "finished checkpoints are kept; the next run goes on from the last"
    if killed:
        rank, number = killed[0]
        why = f"was killed by {signal.Signals(number).name}"
        if number == signal.SIGKILL:
            why += " (most often: out of memory; lower train.batch_size, train.chunk.tokens or encoder.max_length)"
        return f"training failed: process {rank} {why}\nlog: {_log_of(logs, rank)}\n{more}"
    errors = sorted(
        (read_json(path) for path in (folder / "errors").glob("rank-*.json")), key=lambda error: error["at"]
    )
    if errors:
        first = errors[0]
        return f"training failed: process {first['rank']}: {first['what']}\nlog: {_log_of(logs, first['rank'])}\n{more}"
    last = [line for line in text.splitlines() if line.strip()][-3:]
    return "\n".join(["training failed before any process could say why:", *last, f"log: {logs / LOG_FILE}", more])


def _log_of(logs: Path, rank: int) -> Path:
    """Return the error log of process ``rank``, or torchrun's own when it ran on another machine."""
    found = sorted(logs.glob(f"**/{rank}/stderr.log"))
    return found[-1] if found else logs / LOG_FILE
