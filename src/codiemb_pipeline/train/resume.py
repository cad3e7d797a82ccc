"""Checkpoints that can be gone on from exactly: weights, optimiser, generators and position, all or nothing.

``checkpoints/step-N`` is the encoder folder, ``state/step-N`` the rest; both are written under another name and
renamed, the state last, so a state that is there is whole. Only the newest state is kept. The plan needs no saving: it
is a pure function of the seed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from codiemb_pipeline.distributed import barrier, process_rank
from codiemb_pipeline.encoder.checkpoint import save_encoder
from codiemb_pipeline.encoder.text_encoder import Encoder


def checkpoint_name(step: int) -> str:
    """Return the folder name of the checkpoint after ``step``."""
    return f"step-{step:06d}"


def last_step(run: Path) -> int:
    """Return the step of the newest complete checkpoint in a run's folder, 0 when there is none."""
    steps = [int(entry.name.removeprefix("step-")) for entry in (run / "state").glob("step-*")]
    whole = [step for step in steps if (run / "checkpoints" / checkpoint_name(step)).exists()]
    return max(whole, default=0)


def save_weights(run: Path, step: int, encoder: Encoder) -> None:
    """Write the encoder folder of ``step`` (process 0)."""
    if process_rank() == 0:
        _write(run / "checkpoints" / checkpoint_name(step), lambda folder: save_encoder(encoder, folder))
    barrier()


def save_state(run: Path, step: int, optimizer: torch.optim.Optimizer) -> None:
    """Write what going on from ``step`` needs beside the weights; every process keeps its own generators."""
    target = run / "state" / checkpoint_name(step)
    draft = target.with_name(f".{target.name}")
    if process_rank() == 0:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        torch.save(optimizer.state_dict(), draft / "optimizer.pt")
    barrier()
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


def restore_state(run: Path, step: int, optimizer: torch.optim.Optimizer) -> None:
    """Read what :func:`save_state` wrote; the weights are loaded with the encoder."""
    folder = run / "state" / checkpoint_name(step)
    device = next(parameter.device for group in optimizer.param_groups for parameter in group["params"])
    optimizer.load_state_dict(torch.load(folder / "optimizer.pt", map_location=device, weights_only=True))
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
