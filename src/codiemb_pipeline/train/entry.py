"""One process of a training: reads the resolved JSON, wires encoder, data and loop, trains."""

import logging
import time
from pathlib import Path

import numpy as np
import torch

from codiemb_pipeline.artifacts.assemble import TokenStore, TrainingArrays, read_dev
from codiemb_pipeline.artifacts.train import checkpoint_name
from codiemb_pipeline.distributed import (
    gather_uneven,
    is_sharded,
    process_group,
    process_rank,
    whole_weights,
    world_size,
    wrap,
)
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.embedding_store import EmbeddingStore, open_store
from codiemb_pipeline.encoder.encode import encode_ids
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.encoder.tokens import pad
from codiemb_pipeline.params import EncoderParams, TrainParams
from codiemb_pipeline.scoring.dev import score_dev
from codiemb_pipeline.train.events import EVENTS_FILE, EventWriter, keep_until
from codiemb_pipeline.train.loop import Run, plan_of_epoch, run_steps, total_steps
from codiemb_pipeline.train.optimizer import adamw, freeze_unreached
from codiemb_pipeline.train.resume import last_step, restore_state

logger = logging.getLogger(__name__)


def train(config: dict) -> None:
    """Run one process of a training described by the resolved ``config`` (see ``train.run``)."""
    params = TrainParams.parse(config["train"], "train")
    with process_group(params.launch.backend) as device:
        _train(config, params, device)


def _train(config: dict, params: TrainParams, device: torch.device) -> None:
    """Train within a group of processes; a function of its own, so that the wrapped model ends before the group."""
    folder, model_input = Path(config["folder"]), Path(config["model_input"])
    done = last_step(folder)
    torch.manual_seed(params.seed + process_rank())
    encoder_params = EncoderParams.parse(config["encoder"], "encoder")
    resumed = folder / "checkpoints" / checkpoint_name(done) if done else None
    encoder = load_encoder(encoder_params, resumed)
    encoder.model.to(device)
    arrays, store = TrainingArrays(model_input / "train"), TokenStore(model_input / "tokens")
    plan = plan_of_epoch(params, arrays.sources, 0, world_size())
    events = _open_events(folder, done)
    events.write(
        "start",
        at=time.time(),
        step=done,
        steps=total_steps(params, len(plan)),
        steps_per_epoch=len(plan),
        unused=dict(plan.unused),
        untrained=prepare(encoder, store, params),
    )
    model = wrap(encoder.model, device, sharded=params.sharding == "fsdp")
    optimizer = adamw(encoder.model, weight_decay=params.weight_decay)
    if done:
        restore_state(folder, done, model, optimizer)
    run = Run(
        params=params,
        encoder=encoder,
        model=model,
        optimizer=optimizer,
        arrays=arrays,
        store=store,
        folder=folder,
        events=events,
        score=_dev_scorer(encoder, store, params, config),
    )
    run_steps(run, done=done, steps_per_epoch=len(plan))
    events.write("end")
    events.close()


def _open_events(folder: Path, done: int) -> EventWriter:
    path = folder / EVENTS_FILE
    if process_rank() == 0:
        keep_until(path, done)
    return EventWriter(path, active=process_rank() == 0)


def prepare(encoder: Encoder, store: TokenStore, params: TrainParams) -> list[str]:
    """Turn on what the backbone is asked for, and freeze what no loss reaches."""
    if params.gradient_checkpointing:
        encoder.model.backbone.gradient_checkpointing_enable({"use_reentrant": False})
    batch = pad([store[0]], [0], encoder.pad_id).to(encoder.device)
    untrained = freeze_unreached(encoder.model, encoder.model([batch])[0].sum())
    if params.compile:
        encoder.model.backbone.compile(dynamic=True)
    return untrained


def _dev_scorer(encoder: Encoder, store: TokenStore, params: TrainParams, config: dict):
    """Return a function that scores the encoder on dev, each process encoding its share of the texts.

    Embeddings are stored unless the weights are shared out, since no process then knows all that they depend on. They
    are those of full precision, whatever that of the training.
    """
    sets = read_dev(Path(config["model_input"]) / "dev")

    def encode(texts: np.ndarray, known: EmbeddingStore | None) -> torch.Tensor:
        unique, place = np.unique(texts, return_inverse=True)
        # Dealt out by length, so that all processes have as much to do.
        order = np.argsort(store.lengths(unique), kind="stable")
        own = encode_ids(
            encoder,
            store,
            unique[order[process_rank() :: world_size()]],
            tokens_per_chunk=params.chunk.tokens,
            known=known,
        )
        parts = gather_uneven(own.to(encoder.device))
        joint = torch.empty(len(unique), own.shape[1])
        for rank, part in enumerate(parts):
            joint[torch.from_numpy(order[rank :: world_size()])] = part.cpu()
        return joint[torch.from_numpy(place)]

    def score() -> dict[str, float]:
        with whole_weights(encoder.model):
            known = None
            if not is_sharded(encoder.model):
                known = open_store(encoder, Path(config["embeddings"]), config["store_gigabytes"])
            return score_dev(sets, lambda texts: encode(texts, known))

    return score
