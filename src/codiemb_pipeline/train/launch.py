"""Starts the processes of a training and shows how it goes on, from the event file that process 0 writes.

With several machines, ``rendezvous.json`` in the run's folder, which all of them see, tells the others what to join
(``train.join_node``).
"""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from tqdm import tqdm

from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.launch.torchrun import Rendezvous, Work, rendezvous_endpoint, run_torchrun
from codiemb_pipeline.launch.worker import forget_errors
from codiemb_pipeline.params.launch import LaunchParams
from codiemb_pipeline.train.events import EVENTS_FILE, read_events

POLL_S = 0.25
RENDEZVOUS_FILE = "rendezvous.json"

logger = logging.getLogger(__name__)


def training_work(config: Path, folder: Path) -> Work:
    """Return what the processes of a training run.

    Args:
        config: the resolved JSON.
        folder: the run's folder.
    """
    return Work(
        name="training",
        module="codiemb_pipeline.train.entry",
        config=config,
        folder=folder,
        to_lower="train.batch_size, train.chunk.tokens or encoder.max_length",
        kept="finished checkpoints are kept; the next run goes on from the last",
        tokenizes=False,
    )


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
    forget_errors(folder)
    rendezvous = Rendezvous(launch, rendezvous_endpoint(launch), uuid4().hex, first=True)
    if rendezvous.endpoint is not None:
        place = {"id": rendezvous.id, "endpoint": rendezvous.endpoint}
        values = {**place, "config": str(config), "launch": launch.model_dump(mode="json")}
        write_json(folder / f".{RENDEZVOUS_FILE}", values)
        (folder / f".{RENDEZVOUS_FILE}").rename(folder / RENDEZVOUS_FILE)  # so that no machine reads half of it
        logger.info("waiting for %d more machines at %s", launch.nnodes - 1, rendezvous.endpoint)
    try:
        work = training_work(config, folder)
        run_torchrun(rendezvous, work, (lock,), lambda process: _show_progress(process, folder / EVENTS_FILE))
    finally:
        (folder / RENDEZVOUS_FILE).unlink(missing_ok=True)


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
