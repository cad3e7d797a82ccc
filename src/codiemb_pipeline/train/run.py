"""The train stage: writes one resolved JSON, launches the processes, follows their events, hands over the results."""

import logging
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from codiemb_pipeline.artifacts.assemble import Manifest
from codiemb_pipeline.artifacts.train import Checkpoint, TrainedRun, checkpoint_name
from codiemb_pipeline.encoder.checkpoint import base_folder, load_tokenizer, weights_digest
from codiemb_pipeline.encoder.compatibility import SETTINGS_FINGERPRINT, check_compatible, token_fingerprint
from codiemb_pipeline.encoder.embedding_store import embeddings_folder
from codiemb_pipeline.encoder.model_card import write_model_card
from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.launch.torchrun import Rendezvous, Work, processes_per_node, rendezvous_endpoint, run_torchrun
from codiemb_pipeline.launch.work_dir import FINISHED, fingerprint, finish, locked, remove_finished
from codiemb_pipeline.launch.worker import forget_errors
from codiemb_pipeline.locations import folder_digest
from codiemb_pipeline.params import EncoderParams, TrainParams
from codiemb_pipeline.params.launch import LaunchParams
from codiemb_pipeline.progress import ProgressBar
from codiemb_pipeline.train.events import EVENTS_FILE, read_events, write_curves

POLL_S = 0.25
RENDEZVOUS_FILE = "rendezvous.json"

logger = logging.getLogger(__name__)


def train_encoder(
    params: TrainParams,
    encoder_params: EncoderParams,
    *,
    model_input: Path,
    work: Path,
    checkpoints: Path,
    curves: Path,
    run: str,
    store_gigabytes: float = 0,
) -> None:
    """Train, or resume a training that was interrupted.

    Args:
        params: the ``train`` section.
        encoder_params: the ``encoder`` section.
        model_input: what ``assemble`` wrote.
        work: holds unfinished trainings, one folder per fingerprint of parameters, data and base weights.
        checkpoints: empty folder to receive ``step-*`` encoder folders and ``run.json``.
        curves: empty folder to receive ``ir.csv``, ``sts.csv`` and ``dev.csv``.
        store_gigabytes: bound of the embedding store.
        run: its name. Of the finished trainings that wait for DVC, one for each run is kept.

    Raises:
        PipelineError: the training failed, or the same training is already running, or ``model_input`` was made under
            other settings.
    """
    wanted = token_fingerprint(load_tokenizer(encoder_params))
    check_compatible(model_input / SETTINGS_FINGERPRINT, wanted, what="examples", stage="assemble")
    manifest = Manifest.read(model_input / "manifest.json")
    values = {"train": params.model_dump(mode="json"), "encoder": encoder_params.model_dump(mode="json")}
    base = weights_digest(base_folder(encoder_params))
    # Another machine or address may resume a training; another number of processes may not.
    processes = processes_per_node(params.launch) * params.launch.nnodes
    decisive = {**values["train"], "launch": {"processes": processes, "backend": params.launch.backend}}
    key = fingerprint(train=decisive, encoder=values["encoder"], base=base, data=folder_digest(model_input))
    folder = work / "train" / key
    with locked(folder, "training") as lock:
        remove_finished(work / "train", run, but=key)
        if not (folder / FINISHED).exists():
            config = folder / "resolved.json"
            places = {"folder": folder, "model_input": model_input, "embeddings": embeddings_folder(work)}
            named = {key: str(path.absolute()) for key, path in places.items()}
            write_json(config, {**values, **named, "store_gigabytes": store_gigabytes})
            launch_training(params.launch, config, folder, lock)
        _hand_over(folder, checkpoints, curves, base)
        for trained in TrainedRun.of(checkpoints).checkpoints:
            write_model_card(checkpoints / trained.name, encoder_params, manifest)
        shutil.rmtree(folder / "state", ignore_errors=True)
        finish(folder, run)


def training_work(config: Path, folder: Path) -> Work:
    """Return what the processes of a training run: on the resolved JSON ``config``, in the run's ``folder``."""
    return Work(
        name="training",
        function="codiemb_pipeline.train.entry:train",
        config=config,
        folder=folder,
        to_lower="train.batch_size, train.chunk.tokens or encoder.max_length",
        kept="finished checkpoints are kept; the next run resumes from the last",
        tokenizes=False,
    )


def launch_training(launch: LaunchParams, config: Path, folder: Path, lock: int) -> None:
    """Train to the end; processes inherit ``lock``, so that it is held while any of them may still write."""
    forget_errors(folder)
    rendezvous = Rendezvous(launch, rendezvous_endpoint(launch), uuid4().hex, first=True)
    if rendezvous.endpoint is not None:
        values = {"id": rendezvous.id, "endpoint": rendezvous.endpoint, "config": str(config)}
        write_json(folder / RENDEZVOUS_FILE, {**values, "launch": launch.model_dump(mode="json")})
        logger.info("waiting for %d more machines at %s", launch.nnodes - 1, rendezvous.endpoint)
    try:
        work = training_work(config, folder)
        run_torchrun(rendezvous, work, (lock,), lambda process: _show_progress(process, folder / EVENTS_FILE))
    finally:
        (folder / RENDEZVOUS_FILE).unlink(missing_ok=True)


def _show_progress(process: subprocess.Popen, events: Path) -> None:
    """Follow the event file until the process ends."""
    with ProgressBar(desc="train", unit="steps") as bar:
        for event in _follow(process, events, since=time.time()):
            if event["kind"] == "start":
                bar.reset(event["steps"])
                bar.n = bar.last_print_n = bar.initial = event["step"]
                _log_start(event)
            elif event["kind"] == "step":
                speed = f"{event['tokens_per_second']:.0f} tokens a second"
                bar.set_postfix_str(f"{event['task']} loss {event['loss']:.3f}, {speed}", refresh=False)
                bar.update(event["step"] - bar.n)
            elif event["kind"] == "saved":
                logger.info("checkpoint at step %d saved; scoring it on dev", event["step"])
            elif event["kind"] == "dev":
                scores = ", ".join(f"{name} {value:.4f}" for name, value in event["scores"].items() if "/" in name)
                logger.info("checkpoint at step %d: dev %s", event["step"], scores or "(no dev sets)")
                bar.unpause()  # the time left is that of steps


def _log_start(event: dict[str, Any]) -> None:
    if event["step"]:
        logger.info("resuming from the checkpoint at step %d of %d", event["step"], event["steps"])
    else:
        logger.info("training for %d steps, %d an epoch", event["steps"], event["steps_per_epoch"])
    unused = ", ".join(f"{name} {count}" for name, count in event["unused"].items() if count)
    if unused:
        logger.info("examples left for later epochs: %s", unused)
    if event["untrained"]:
        logger.info("parameters that no loss reaches, unchanged: %s", ", ".join(event["untrained"]))


def _follow(process: subprocess.Popen, events: Path, since: float) -> Iterator[dict[str, Any]]:
    """Yield events from this launch's ``start`` on, as they are written, until the process has ended."""
    seen: int | None = None
    while True:
        ended = process.poll() is not None
        news = list(read_events(events))
        if seen is None:
            seen = next((index for index, event in enumerate(news) if event.get("at", 0.0) >= since), None)
        if seen is not None:
            yield from news[seen:]
            seen = len(news)
        if ended:
            return
        time.sleep(POLL_S)


def _hand_over(folder: Path, checkpoints: Path, curves: Path, base: str) -> None:
    """Copy the finished checkpoints and write their description and curves."""
    scores = {event["step"]: event["scores"] for event in read_events(folder / EVENTS_FILE) if event["kind"] == "dev"}
    entries = []
    saved = {path.name for path in (folder / "checkpoints").glob("step-*")}
    if odd := sorted(saved ^ {checkpoint_name(step) for step in scores}):
        raise PipelineError(
            f"{folder}: expected a folder and dev scores for each checkpoint, found one without the other for "
            f"{', '.join(odd)}; delete the folder and train again"
        )
    for step in sorted(scores):
        name = checkpoint_name(step)
        shutil.copytree(folder / "checkpoints" / name, checkpoints / name)
        dev = {key: round(value, 6) for key, value in scores[step].items()}
        entries.append(Checkpoint(name=name, step=step, dev=dev))
    if entries[0].step:
        raise PipelineError(f"{folder}: expected checkpoint 0, the base, found none; delete the folder and train again")
    TrainedRun(base_sha256=base, base=entries[0], checkpoints=entries[1:]).write(checkpoints / "run.json")
    write_curves(folder / EVENTS_FILE, curves)
