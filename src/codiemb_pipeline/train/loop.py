"""The training loop: micro-batches to updates, updates to log rows and checkpoints. The same loop for every process."""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from codiemb_pipeline.artifacts.assemble import SourceRange, TokenStore, TrainingArrays
from codiemb_pipeline.distributed import clip_gradients, process_rank, total, world_size
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.errors import InputError, PipelineError
from codiemb_pipeline.losses.operands import NotFiniteError
from codiemb_pipeline.params import TrainParams
from codiemb_pipeline.process_guard import die_with_parent
from codiemb_pipeline.schema import Task
from codiemb_pipeline.train.batch_plan import EpochPlan, plan_epoch
from codiemb_pipeline.train.collate import IRBatch, PlannedBatches, STSBatch
from codiemb_pipeline.train.events import EventWriter
from codiemb_pipeline.train.grad_cache import backward_at_once, backward_in_chunks
from codiemb_pipeline.train.optimizer import learning_rate, set_learning_rate
from codiemb_pipeline.train.resume import save_state, save_weights
from codiemb_pipeline.train.step import Objective, part_names

DIVERGED = (
    "{what}; lower train.learning_rate, or look for extreme values in the data. The next run resumes "
    "from the last checkpoint"
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything a loop works on.

    Attributes:
        model: the module of ``encoder``, wrapped for several processes or not.
        folder: receives checkpoints and state.
        score: returns the dev scores of the encoder as it is now; all processes call it together.
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


@dataclass
class Meter:
    """Sums over the steps of one task since the last log row.

    In a mixed plan, processes work on different tasks in one step, so a process may have no batch of a task.

    Attributes:
        names: the loss parts, the same on every process.
    """

    names: Sequence[str]
    steps: int = 0
    micro_batches: int = 0
    losses: dict[str, torch.Tensor] = field(default_factory=dict)
    tokens: int = 0
    padded: int = 0
    seconds: float = 0.0
    loader_seconds: float = 0.0

    def add(self, batch: IRBatch | STSBatch, parts: Mapping[str, torch.Tensor]) -> None:
        """Add one micro-batch and its losses. The losses stay on their device until a row is made."""
        self.micro_batches += 1
        self.tokens += batch.tokens
        self.padded += batch.padded
        for name, value in parts.items():
            self.losses[name] = self.losses[name] + value if name in self.losses else value

    def row(self, device: torch.device) -> dict[str, float] | None:
        """Return the means over all processes and the steps since the last row, and reset. Every process must call it.

        Returns:
            Losses by name; ``tokens_per_second`` of all processes, ``padding`` as a share of padded tokens,
            ``loader_share`` as a share of the time. ``None`` if no process had a micro-batch of the task.
        """
        sums = [self.losses[name].double() for name in self.names] if self.micro_batches else []
        own = torch.stack(sums) if sums else torch.zeros(len(self.names), dtype=torch.float64, device=device)
        times = (self.micro_batches, self.tokens, self.padded, self.seconds, self.loader_seconds)
        counts = torch.tensor(times, dtype=own.dtype, device=device)
        sums_of_all = total(torch.cat([own, counts])).tolist()
        micro_batches, tokens, padded, seconds, loading = sums_of_all[len(self.names) :]
        self.__init__(self.names)
        if not micro_batches:
            return None
        means = (value / micro_batches for value in sums_of_all[: len(self.names)])
        return {
            **dict(zip(self.names, means, strict=True)),
            "tokens_per_second": tokens * world_size() / max(seconds, 1e-9),
            "padding": 1 - tokens / padded,
            "loader_share": loading / max(seconds, 1e-9),
        }


def plan_of_epoch(params: TrainParams, sources: Sequence[SourceRange], epoch: int, processes: int) -> EpochPlan:
    """Return the plan of ``epoch`` for ``processes`` processes."""
    return plan_epoch(
        sources,
        batch_sizes=params.batch_size.model_dump(),
        world_size=processes,
        accumulation=params.accumulation,
        sampler=params.sampler,
        seed=params.seed,
        epoch=epoch,
    )


def total_steps(params: TrainParams, steps_per_epoch: int) -> int:
    """Return the number of updates of the whole run."""
    whole = params.epochs * steps_per_epoch
    return whole if params.max_steps is None else min(whole, params.max_steps)


def run_steps(run: Run, *, done: int, steps_per_epoch: int) -> None:
    """Train from update ``done`` to the end. A run that starts at 0 first saves and scores the base as checkpoint 0."""
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
        batches = load_batches(run, plan, epoch, first_step=done - epoch * steps_per_epoch)
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


def load_batches(run: Run, plan: EpochPlan, epoch: int, first_step: int) -> Iterator[IRBatch | STSBatch]:
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
        meter.add(batch, parts)
    norm = clip_gradients(run.model, run.params.max_gradient_norm)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    meter.steps += 1
    meter.seconds += time.perf_counter() - begin
    return norm


def _log(run: Run, meters: Mapping[Task, Meter], *, step: int, epoch: int, rate: float, norm: float) -> None:
    """Write a row for each task that had a step since its last row.

    Raises:
        PipelineError: a value is not finite. Once a gradient is not, its norm and the weights are NaN for good.
    """
    mixed = run.params.sampler.mode == "mixed"  # another process may have had a task that this one did not
    for task, meter in meters.items():
        row = meter.row(run.encoder.device) if mixed or meter.steps else None
        if row is None:
            continue
        row |= {"gradient_norm": norm}
        for name, value in row.items():
            if not math.isfinite(value):
                raise PipelineError(DIVERGED.format(what=f"step {step}, task {task}: {name} is {value}"))
        run.events.write("step", task=task, step=step, epoch=epoch, **row, learning_rate=rate)


def _is_checkpoint(params: TrainParams, done: int, steps: int, *, end_of_epoch: bool) -> bool:
    if done == steps:
        return True
    return end_of_epoch if params.checkpoint_every is None else done % params.checkpoint_every == 0


def _save_and_score(run: Run, step: int) -> None:
    save_weights(run.folder, step, run.encoder)
    run.events.write("saved", step=step)
    run.events.write("dev", step=step, scores=run.score())
