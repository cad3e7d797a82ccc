"""The training loop: micro-batches to updates, updates to log rows and checkpoints. One loop for every process."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from codiemb_pipeline.artifacts.assemble import SourceRange, TokenStore, TrainingArrays
from codiemb_pipeline.distributed import clip_gradients, process_rank, world_size
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.errors import InputError, PipelineError
from codiemb_pipeline.launch.process_guard import die_with_parent
from codiemb_pipeline.losses.finite import NotFiniteError
from codiemb_pipeline.params import TrainParams
from codiemb_pipeline.schema import Task
from codiemb_pipeline.train.batch_plan import Balance, EpochPlan, plan_epoch
from codiemb_pipeline.train.collate import IRBatch, PlannedBatches, STSBatch
from codiemb_pipeline.train.events import EventWriter
from codiemb_pipeline.train.grad_cache import backward_at_once, backward_in_chunks
from codiemb_pipeline.train.metrics import DIVERGED, Meter, check_finite
from codiemb_pipeline.train.optimizer import learning_rate, set_learning_rate
from codiemb_pipeline.train.resume import save_state, save_weights
from codiemb_pipeline.train.step import Objective, part_names


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


def plan_of_epoch(params: TrainParams, sources: Sequence[SourceRange], epoch: int, processes: int) -> EpochPlan:
    """Return the plan of ``epoch`` for ``processes`` processes."""
    sampler = params.sampler
    return plan_epoch(
        sources,
        batch_sizes=params.batch_size.model_dump(),
        world_size=processes,
        accumulation=params.accumulation,
        balance=Balance(**sampler.model_dump(exclude={"mode"})),
        mixed=sampler.mode == "mixed",
        seed=params.seed,
        epoch=epoch,
    )


def total_steps(params: TrainParams, steps_per_epoch: int) -> int:
    """Return the number of updates of the whole run."""
    whole = params.epochs * steps_per_epoch
    return whole if params.max_steps is None else min(whole, params.max_steps)


def run_steps(run: Run, *, done: int, steps_per_epoch: int) -> None:
    """Train from update ``done`` to the end; from 0, the base is saved and scored first, as checkpoint 0."""
    params = run.params
    steps = total_steps(params, steps_per_epoch)
    objective = _objective(run)
    meters = {task: Meter(names) for task, names in part_names(objective).items()}
    if done == 0:
        _save_and_score(run, 0)
    run.model.train()
    for epoch in itertools.count(done // steps_per_epoch):
        if done >= steps:
            return
        plan = plan_of_epoch(params, run.arrays.sources, epoch, world_size())
        batches = _batches(run, plan, epoch, first_step=done - epoch * steps_per_epoch)
        for step_of_epoch in range(done - epoch * steps_per_epoch, len(plan)):
            done += 1
            rate = learning_rate(done, steps=steps, warmup=params.warmup, highest=params.learning_rate)
            set_learning_rate(run.optimizer, rate)
            norm = _update(run, objective, batches, meters)
            saved = _is_checkpoint(params, done, steps, end_of_epoch=step_of_epoch + 1 == len(plan))
            if saved or done % params.log_every == 0:
                _log(run, meters, step=done, epoch=epoch, rate=rate, norm=float(norm))
            if saved:
                _save_and_score(run, done)
                save_state(run.folder, done, run.model, run.optimizer)
            if done >= steps:
                return


def _objective(run: Run) -> Objective:
    layer = None
    if mid := run.params.sts.active().get("mid_info_nce"):
        layer = run.encoder.model.layers // 2 if mid.layer is None else mid.layer
    for dimensions in run.params.matryoshka.dimensions if run.params.matryoshka else ():
        if dimensions >= (width := run.encoder.model.width):
            raise InputError(
                f"params.yaml: train.matryoshka.dimensions: expected less than {width}; found {dimensions}"
            )
    return Objective(
        ir=run.params.ir,
        sts=run.params.sts,
        mid_layer=layer,
        matryoshka=run.params.matryoshka,
        bf16=run.params.precision == "bf16",
        same_task=run.params.sampler.mode != "mixed",
    )


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
        padding_side=run.encoder.params.padding_side,
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


def _update(
    run: Run, objective: Objective, batches: Iterator[IRBatch | STSBatch], meters: Mapping[Task, Meter]
) -> torch.Tensor:
    """Do one optimiser update and return the norm of its gradient, before clipping."""
    begin = time.perf_counter()
    accumulation = run.params.accumulation
    backward = backward_in_chunks if run.params.grad_cache else backward_at_once
    for micro_batch in range(accumulation):
        waiting = time.perf_counter()
        batch = next(batches)
        meter = meters[batch.task]
        meter.loader_seconds += time.perf_counter() - waiting
        exchange = micro_batch + 1 == accumulation
        batch = batch.to(run.encoder.device)
        try:
            parts = backward(run.model, batch, objective, scale=1 / accumulation, exchange=exchange)
        except NotFiniteError as error:
            raise PipelineError(DIVERGED.format(what=f"task {batch.task}, source {batch.source}: {error}")) from error
        meter.add_losses(parts)
        meter.tokens += batch.tokens
        meter.padded += batch.padded
    norm = clip_gradients(run.model, run.params.max_gradient_norm)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    meter.steps += 1
    meter.seconds += time.perf_counter() - begin
    return norm


def _log(run: Run, meters: Mapping[Task, Meter], *, step: int, epoch: int, rate: float, norm: float) -> None:
    """Write a row for each task there was since the last one; nothing that is not finite gets past here.

    The norm of a gradient that ever was not finite is NaN from then on, as the weights are.
    """
    mixed = run.params.sampler.mode == "mixed"  # a task no process of ours had may have been another's
    for task, meter in meters.items():
        row = meter.row(run.encoder.device) if mixed or meter.steps else None
        if row is not None:
            row |= {"gradient_norm": norm}
            check_finite(row, step=step, task=task)
            run.events.write("step", task=task, step=step, epoch=epoch, **row, learning_rate=rate)


def _is_checkpoint(params: TrainParams, done: int, steps: int, *, end_of_epoch: bool) -> bool:
    if done == steps:
        return True
    return end_of_epoch if params.checkpoint_every is None else done % params.checkpoint_every == 0


def _save_and_score(run: Run, step: int) -> None:
    save_weights(run.folder, step, run.encoder)
    run.events.write("dev", step=step, scores=run.score())
