"""Everything about other processes: the only import of torch.distributed. One process is the same path, all no-ops.

Gradients: DDP averages over processes. With own queries against documents gathered *with* gradient, the average of the
processes' means equals the gradient of one process on the joint batch; nothing is multiplied by their number.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as sharded_files
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

COLLECTIVE_TIMEOUT = timedelta(minutes=30)


def process_rank() -> int:
    """Return this process's number among all, 0 when alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def process_group(backend: str, timeout: timedelta = COLLECTIVE_TIMEOUT) -> Iterator[torch.device]:
    """Join the processes torchrun started, for the length of a ``with``; yields this process's device.

    After an error the process group is not destroyed: peers would fail first and hide the cause.

    No wrapped model may be in use when the ``with`` ends. If DDP's reducer is the last holder of the group, it destroys
    it while holding Python's lock; a gloo thread may wait for that lock, and the process hangs (pytorch 56297).
    """
    device = torch.device("cpu")
    if backend == "nccl":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group(backend, timeout=timeout)
    yield device
    gc.collect()  # a wrapped model is part of cycles
    dist.destroy_process_group()


def take_own_gpu() -> None:
    """Make the GPU of this process's local rank the current one; without GPUs do nothing."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))


def barrier() -> None:
    """Wait for all processes."""
    if world_size() > 1:
        dist.barrier()


class _Gather(torch.autograd.Function):
    """All-gather whose backward gives each process the gradient of all processes' losses by its rows."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
        ctx.count = len(rows)
        return gather(rows)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        own = torch.empty_like(gradient[: ctx.count])
        dist.reduce_scatter_single(own, gradient.contiguous())
        return own


def gather_with_gradient(rows: torch.Tensor) -> torch.Tensor:
    """Return the rows (n, ...) of all processes in the order of their ranks, (W * n, ...), with gradient."""
    return _Gather.apply(rows) if world_size() > 1 else rows


def gather(rows: torch.Tensor) -> torch.Tensor:
    """Return the rows (n, ...), of equal shape on every process, in the order of ranks, (W * n, ...), no gradient."""
    if world_size() == 1:
        return rows
    joint = rows.new_empty((world_size() * len(rows), *rows.shape[1:]))
    dist.all_gather_single(joint, rows.detach().contiguous())
    return joint


def gather_wide(rows: torch.Tensor, *, fill: int) -> torch.Tensor:
    """Return the rows (n, m) of all processes, (W * n, widest m), without gradient; narrower ones end in ``fill``."""
    if world_size() == 1:
        return rows
    width = torch.tensor(rows.shape[1], device=rows.device)
    dist.all_reduce(width, op=dist.ReduceOp.MAX)
    filled = rows.new_full((len(rows), int(width)), fill)
    filled[:, : rows.shape[1]] = rows
    return gather(filled)


def gather_uneven(rows: torch.Tensor) -> list[torch.Tensor]:
    """Return the rows of each process, (n_r, ...), without gradient; the numbers of rows may differ."""
    if world_size() == 1:
        return [rows]
    counts = gather(torch.tensor([len(rows)], device=rows.device)).tolist()
    filled = rows.new_zeros((max(counts), *rows.shape[1:]))
    filled[: len(rows)] = rows
    joint = gather(filled).split(max(counts))
    return [part[:count] for part, count in zip(joint, counts, strict=True)]


def total(value: torch.Tensor) -> torch.Tensor:
    """Return the sum of ``value`` over all processes, without gradient."""
    if world_size() == 1:
        return value.detach()
    summed = value.detach().clone()
    dist.all_reduce(summed)
    return summed


def mean_over_processes(summed: torch.Tensor, count: torch.Tensor, *, joint: bool) -> torch.Tensor:
    """Return a mean whose gradient, averaged over the processes, is that of the mean over the rows of all of them.

    ``summed`` and ``count`` are scalars of this process's rows; unless ``joint``, the mean is over them alone.
    """
    if not joint:
        return summed / count.clamp(min=1)
    return summed * world_size() / total(count).clamp(min=1)


def wrap(model: nn.Module, device: torch.device, *, sharded: bool = False) -> nn.Module:
    """Return ``model`` with gradients averaged over the processes; parameters change in place when ``sharded``.

    ``sharded`` (FSDP2): each process keeps a part of weights, gradients and optimiser state, in float32; the weights
    are gathered once per micro-batch. The model is one unit: processes run the layers different numbers of times (their
    texts make different numbers of chunks), and with one unit per layer would wait for each other forever.
    """
    if world_size() == 1:
        return model
    if sharded:
        return fully_shard(model, mesh=init_device_mesh(device.type, (world_size(),)), reshard_after_forward=False)
    return nn.parallel.DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)


def without_exchange(model: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which a wrapped model's gradients stay local: all micro-batches of a step but the last."""
    if isinstance(model, FSDPModule):
        return _kept_whole(model)
    return model.no_sync() if isinstance(model, nn.parallel.DistributedDataParallel) else nullcontext()


@contextmanager
def _kept_whole(model: FSDPModule) -> Iterator[None]:
    model.set_requires_gradient_sync(False)
    model.set_reshard_after_backward(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)
        model.set_reshard_after_backward(True)


@contextmanager
def whole_weights(model: nn.Module) -> Iterator[None]:
    """Hold all weights for the length of a ``with``, so that each process may encode any number of times."""
    if not isinstance(model, FSDPModule):
        yield
        return
    model.unshard()
    try:
        yield
    finally:
        model.reshard()


def clip_gradients(model: nn.Module, highest: float) -> torch.Tensor:
    """Scale all gradients so that their joint norm is ``highest`` at most; return the norm before."""
    norm = nn.utils.clip_grad_norm_(model.parameters(), highest)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def gathered_weights(model: nn.Module) -> dict[str, torch.Tensor] | None:
    """Return all weights of a sharded model on the CPU, on process 0; ``None`` for a model that is not sharded."""
    if not isinstance(model, FSDPModule):
        return None
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def is_sharded(model: nn.Module) -> bool:
    """Return whether each process has only a part of the weights."""
    return isinstance(model, FSDPModule)


def save_sharded(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Write weights and optimiser state, each process its own part (PyTorch's distributed checkpoint)."""
    weights, state = get_state_dict(model, optimizer)
    sharded_files.save({"model": weights, "optimizer": state}, checkpoint_id=folder)


def load_sharded(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Read what :func:`save_sharded` wrote, in place."""
    weights, state = get_state_dict(model, optimizer)
    values = {"model": weights, "optimizer": state}
    sharded_files.load(values, checkpoint_id=folder)
    set_state_dict(model, optimizer, model_state_dict=values["model"], optim_state_dict=values["optimizer"])
