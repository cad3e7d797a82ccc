"""The train stage: one resolved JSON, one launch, and the finished run handed over."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from codiemb_pipeline.artifacts.train import Checkpoint, TrainedRun, checkpoint_name
from codiemb_pipeline.encoder.checkpoint import base_folder, load_tokenizer, weights_digest
from codiemb_pipeline.encoder.compatibility import SETTINGS_FINGERPRINT, check_compatible, token_fingerprint
from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.launch.torchrun import processes_per_node
from codiemb_pipeline.launch.work_dir import fingerprint, locked
from codiemb_pipeline.locations import folder_digest
from codiemb_pipeline.params import EncoderParams, TrainParams
from codiemb_pipeline.train.events import EVENTS_FILE, read_events, write_curves
from codiemb_pipeline.train.launch import launch_training


def train_encoder(
    params: TrainParams,
    encoder_params: EncoderParams,
    *,
    model_input: Path,
    work: Path,
    checkpoints: Path,
    curves: Path,
) -> None:
    """Train, or go on with a training that was interrupted.

    Args:
        params: the ``train`` section.
        encoder_params: the ``encoder`` section.
        model_input: what ``assemble`` wrote.
        work: where training in progress lies, a folder per fingerprint of parameters, data and base weights.
        checkpoints: empty folder to receive ``step-*`` encoder folders and ``run.json``.
        curves: empty folder to receive ``ir.csv``, ``sts.csv`` and ``dev.csv``.

    Raises:
        PipelineError: the training failed, or the same training is already running, or ``model_input`` was made under
            other settings.
    """
    wanted = token_fingerprint(load_tokenizer(encoder_params))
    check_compatible(model_input / SETTINGS_FINGERPRINT, wanted, what="examples", stage="assemble")
    values = {"train": params.model_dump(mode="json"), "encoder": encoder_params.model_dump(mode="json")}
    base = weights_digest(base_folder(encoder_params))
    key = fingerprint(**_what_decides(values, params), base=base, data=folder_digest(model_input))
    folder = work / "train" / key
    with locked(folder, "training") as lock:
        config = folder / "resolved.json"
        write_json(config, {**values, "folder": str(folder.absolute()), "model_input": str(model_input.absolute())})
        launch_training(params.launch, config, folder, lock)
        _hand_over(folder, checkpoints, curves, base)
        shutil.rmtree(folder)


def _what_decides(values: dict[str, Any], params: TrainParams) -> dict[str, Any]:
    """Return ``values`` with what decides the result in place of ``launch``: an interrupted training goes on elsewhere.

    How many processes there are does decide; on which machines, and where those meet, does not.
    """
    processes = processes_per_node(params.launch) * params.launch.nnodes
    launch = {"processes": processes, "backend": params.launch.backend}
    return {**values, "train": {**values["train"], "launch": launch}}


def _hand_over(folder: Path, checkpoints: Path, curves: Path, base: str) -> None:
    """Move the finished checkpoints and write what is known of them."""
    scores = {event["step"]: event["scores"] for event in read_events(folder / EVENTS_FILE) if event["kind"] == "dev"}
    entries = []
    for step in sorted(scores):
        name = checkpoint_name(step)
        shutil.copytree(folder / "checkpoints" / name, checkpoints / name)
        dev = {key: round(value, 6) for key, value in scores[step].items()}
        entries.append(Checkpoint(name=name, step=step, dev=dev))
    if entries[0].step:
        raise PipelineError(f"{folder}: expected checkpoint 0, the base, found none; delete the folder and train again")
    TrainedRun(base_sha256=base, base=entries[0], checkpoints=entries[1:]).write(checkpoints / "run.json")
    write_curves(folder / EVENTS_FILE, curves)
