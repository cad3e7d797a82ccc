"""Builds and runs the torchrun command: the only subprocess of the pipeline.

The terminal belongs to this process alone: workers and torchrun write to log files, progress comes from the event file
process 0 writes, and a failure is told in a few lines, last. Knows nothing of what is trained.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params.train import LaunchParams
from codiemb_pipeline.train.events import EVENTS_FILE, read_events
from codiemb_pipeline.train.process_guard import die_with_parent

POLL_S = 0.25
GRACE_S = 8.0
LOG_FILE = "torchrun.log"

logger = logging.getLogger(__name__)


def torchrun_command(launch: LaunchParams, config: Path, logs: Path) -> list[str]:
    """Return the command that starts the processes of this machine."""
    if launch.rendezvous_endpoint is None:
        meeting = ["--standalone"]
    else:
        meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", launch.rendezvous_endpoint]
        meeting += ["--rdzv-id", launch.rendezvous_id, "--node-rank", str(launch.node_rank)]
    return [
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--nnodes", str(launch.nnodes), "--nproc-per-node", str(launch.nproc_per_node), *meeting),
        *("--redirects", "3", "--log-dir", str(logs)),
        *("-m", "codiemb_pipeline.train.entry", str(config)),
    ]


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
    logs = folder / "logs" / time.strftime("%Y%m%d-%H%M%S")
    logs.mkdir(parents=True, exist_ok=True)
    for stale in (folder / "errors").glob("*.json"):
        stale.unlink()
    die_with_parent(signal.SIGTERM)
    threads = launch.threads or max(1, (os.cpu_count() or 1) // launch.nproc_per_node)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    with (logs / LOG_FILE).open("wb") as log:
        process = subprocess.Popen(
            torchrun_command(launch, config, logs),
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=(lock,),
            preexec_fn=lambda: die_with_parent(signal.SIGTERM),  # noqa: PLW1509
        )
        try:
            _show_progress(process, folder / EVENTS_FILE)
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
