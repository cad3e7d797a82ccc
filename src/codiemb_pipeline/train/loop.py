"""The training loop: micro-batches to updates, updates to log rows and checkpoints. One loop for every process.

Sees the whole ``train`` section. Knows nothing of torchrun, Kedro or where the data came from.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from codiemb_pipeline.distributed import process_rank, without_exchange, world_size
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.model_input import TokenStore, TrainingArrays
from codiemb_pipeline.params import TrainParams
from codiemb_pipeline.schema import TASKS
from codiemb_pipeline.train.batch_plan import EpochPlan, plan_epoch
from codiemb_pipeline.train.collate import IRBatch, PlannedBatches, STSBatch
from codiemb_pipeline.train.events import EventWriter
from codiemb_pipeline.train.meter import Meter
from codiemb_pipeline.train.optimizer import learning_rate, set_learning_rate
from codiemb_pipeline.train.process_guard import die_with_parent
from codiemb_pipeline.train.resume import save_state, save_weights
from codiemb_pipeline.train.step import Objective, batch_loss


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything a loop works on.

    Attributes:
        params: the ``train`` section.
        encoder: its module is ``model``, wrapped or not.
        model: what the loop calls.
        optimizer: over the parameters that train.
        arrays, store: the training examples.
        folder: where checkpoints and state go.
        events: where log rows go.
        score: dev scores of the encoder as it is now; called by all processes together.
    """

    params: TrainParams
    encoder: Encoder
    model: nn.Module
    optimizer: torch.optim.Optimizer
    arrays: TrainingArrays
    store: TokenStore
    folder: Path
    events: EventWriter
    score: Callable[[], dict[str, float]]


def plan_of_epoch(params: TrainParams, arrays: TrainingArrays, epoch: int, processes: int) -> EpochPlan:
    """Return the plan of ``epoch`` for ``processes`` processes."""
    sampler = params.sampler
    return plan_epoch(
        arrays.sources,
        batch_sizes=params.batch_size.model_dump(),
        world_size=processes,
        accumulation=params.accumulation,
        steps_per_task=sampler.steps_per_task.model_dump() if sampler.steps_per_task else None,
        repeat=sampler.repeat,
        seed=params.seed,
        epoch=epoch,
    )


def total_steps(params: TrainParams, steps_per_epoch: int) -> int:
    """Return the number of updates of the whole run."""
    whole = params.epochs * steps_per_epoch
    return whole if params.max_steps is None else min(whole, params.max_steps)


def run_steps(run: Run, *, done: int, steps_per_epoch: int) -> None:
    """Train from update ``done`` (0 for the start) to the end."""
    params = run.params
    steps = total_steps(params, steps_per_epoch)
    objective = _objective(run)
    meters = {task: Meter() for task in TASKS}
    run.model.train()
    for epoch in itertools.count(done // steps_per_epoch):
        if done >= steps:
            return
        plan = plan_of_epoch(params, run.arrays, epoch, world_size())
        batches = _batches(run, plan, epoch, first_step=done - epoch * steps_per_epoch)
        for step_of_epoch in range(done - epoch * steps_per_epoch, len(plan)):
            task = plan.source(step_of_epoch).task
            done += 1
            rate = learning_rate(done, steps=steps, warmup=params.warmup, highest=params.learning_rate)
            set_learning_rate(run.optimizer, rate)
            _update(run, objective, batches, meters[task])
            if done % params.log_every == 0 or done == steps:
                _log(run, meters, step=done, epoch=epoch, rate=rate)
            if _is_checkpoint(params, done, steps, end_of_epoch=step_of_epoch + 1 == len(plan)):
                _checkpoint(run, done)
            if done >= steps:
                return


def _objective(run: Run) -> Objective:
    mid = run.params.sts.mid_layer
    layer = None
    if mid.weight > 0:
        layer = run.encoder.model.layers // 2 if mid.layer is None else mid.layer
    return Objective(run.params.ir, run.params.sts, layer, bf16=run.params.precision == "bf16")


def _batches(run: Run, plan: EpochPlan, epoch: int, first_step: int) -> Iterator[IRBatch | STSBatch]:
    """Return this process's micro-batches of the epoch from ``first_step`` on."""
    params = run.params
    dataset = PlannedBatches(
        plan,
        arrays=run.arrays,
        store=run.store,
        ir=params.ir,
        chunk=params.chunk,
        pad_id=run.encoder.pad_id,
        process_rank=process_rank(),
        seed=params.seed,
        epoch=epoch,
    )
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=range(first_step * params.accumulation, len(dataset)),
        num_workers=params.loader_workers,
        worker_init_fn=_worker_start,
        generator=torch.Generator(),  # its own, or making the iterator would shift dropout (feasibility, 7)
    )
    return iter(loader)


def _worker_start(_: int) -> None:
    die_with_parent()
    torch.set_num_threads(1)


def _update(run: Run, objective: Objective, batches: Iterator[IRBatch | STSBatch], meter: Meter) -> None:
    """Do one optimiser update."""
    begin = time.perf_counter()
    accumulation = run.params.accumulation
    for micro_batch in range(accumulation):
        waiting = time.perf_counter()
        batch = next(batches)
        meter.loader_seconds += time.perf_counter() - waiting
        last = micro_batch + 1 == accumulation
        with torch.enable_grad() if last else without_exchange(run.model):
            loss, parts = batch_loss(run.model, batch.to(run.encoder.device), objective)
            (loss / accumulation).backward()
        meter.add_losses(loss, parts)
        meter.tokens += batch.tokens
        meter.padded += batch.padded
    nn.utils.clip_grad_norm_(run.model.parameters(), run.params.max_gradient_norm)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    meter.steps += 1
    meter.seconds += time.perf_counter() - begin


def _log(run: Run, meters: dict[str, Meter], *, step: int, epoch: int, rate: float) -> None:
    for task, meter in meters.items():
        if meter.steps:
            row = meter.row(step=step, task=task)
            run.events.write("step", task=task, step=step, epoch=epoch, **row, learning_rate=rate)


def _is_checkpoint(params: TrainParams, done: int, steps: int, *, end_of_epoch: bool) -> bool:
    if done == steps:
        return True
    return end_of_epoch if params.checkpoint_every is None else done % params.checkpoint_every == 0


def _checkpoint(run: Run, step: int) -> None:
    save_weights(run.folder, step, run.encoder)
    run.events.write("dev", step=step, scores=run.score())
    save_state(run.folder, step, run.optimizer)
