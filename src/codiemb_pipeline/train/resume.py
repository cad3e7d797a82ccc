"""Checkpoints from which training resumes exactly: weights, optimiser state, random generators and position.

``checkpoints/step-N`` is the encoder folder, ``state/step-N`` the rest. Both are written under a temporary name and
renamed, the state last, so an existing state is complete; only the newest is kept. Checkpoint 0, the base, has no
state: a training that stops before checkpoint 1 starts again. The plan is not saved: it is a function of the seed.
"""

import shutil
from pathlib import Path

import torch
from torch import nn

from codiemb_pipeline.artifacts.train import checkpoint_name
from codiemb_pipeline.distributed import (
    barrier,
    gathered_weights,
    is_sharded,
    load_sharded,
    process_rank,
    save_sharded,
)
from codiemb_pipeline.encoder.checkpoint import save_encoder
from codiemb_pipeline.encoder.text_encoder import Encoder

OPTIMIZER_FILE, SHARDS_FOLDER = "optimizer.pt", "shards"


def last_step(run: Path) -> int:
    """Return the step of the newest complete checkpoint in a run's folder, 0 when there is none."""
    steps = [int(entry.name.removeprefix("step-")) for entry in (run / "state").glob("step-*")]
    whole = [step for step in steps if (run / "checkpoints" / checkpoint_name(step)).exists()]
    return max(whole, default=0)


def save_weights(run: Path, step: int, encoder: Encoder) -> None:
    """Write the encoder folder of ``step`` (process 0), whole, whether the weights are shared out or not."""
    weights = gathered_weights(encoder.model)
    if process_rank() == 0:
        _write(run / "checkpoints" / checkpoint_name(step), lambda folder: save_encoder(encoder, folder, weights))
    barrier()


def save_state(run: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write what resuming from ``step`` needs besides the encoder folder; every process saves its own generators."""
    target = run / "state" / checkpoint_name(step)
    draft = target.with_name(f".{target.name}")
    if process_rank() == 0:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        if not is_sharded(model):
            torch.save(optimizer.state_dict(), draft / OPTIMIZER_FILE)
    barrier()
    if is_sharded(model):
        save_sharded(model, optimizer, draft / SHARDS_FOLDER)
    generators = {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }
    torch.save(generators, draft / f"generators-{process_rank()}.pt")
    barrier()
    if process_rank() == 0:
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
        for older in target.parent.glob("step-*"):
            if older != target:
                shutil.rmtree(older)
    barrier()


def restore_state(run: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Read what :func:`save_state` wrote; ``model`` has been loaded from the encoder folder of ``step``."""
    folder = run / "state" / checkpoint_name(step)
    if is_sharded(model):
        load_sharded(model, optimizer, folder / SHARDS_FOLDER)
    else:
        device = next(parameter.device for group in optimizer.param_groups for parameter in group["params"])
        optimizer.load_state_dict(torch.load(folder / OPTIMIZER_FILE, map_location=device, weights_only=True))
    generators = torch.load(folder / f"generators-{process_rank()}.pt", map_location="cpu", weights_only=True)
    torch.set_rng_state(generators["cpu"])
    if generators["cuda"] is not None:
        torch.cuda.set_rng_state(generators["cuda"])


def _write(target: Path, fill) -> None:
    draft = target.with_name(f".{target.name}")
    shutil.rmtree(draft, ignore_errors=True)
    fill(draft)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
