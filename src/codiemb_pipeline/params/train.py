"""The ``train`` section: sampler, optimiser, checkpoints; see ``params.objectives`` and ``params.launch``."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from codiemb_pipeline.params.base import Count, PositiveWeight, Section, Seed, Share, Weight
from codiemb_pipeline.params.launch import LaunchParams
from codiemb_pipeline.params.objectives import IRParams, MatryoshkaParams, STSParams


class PerTask(Section):
    """A positive whole number for each task."""

    ir: Count
    sts: Count


class Shares(Section):
    """Relative numbers of steps per task; 0 leaves a task out."""

    ir: Weight
    sts: Weight

    @model_validator(mode="after")
    def _any(self) -> Self:
        if self.ir + self.sts == 0:
            raise ValueError("one share at least must be above 0")
        return self


class SamplerParams(Section):
    """Which sources each step draws from.

    Attributes:
        mode: ``dynamic`` (CoDiEmb): every step is of one source, the same on every process, with its task's batch size.
            Two baselines: ``single``: likewise, with one batch size for both tasks and as many steps as the data give;
            ``mixed``: each process's micro-batch is of one source, those of one step of any, so that tasks meet in one
            update; negatives then stay within a process.
        source_weights: within their task, where ``steps_per_task`` is given.
        size_temperature: without weights, a source's number of steps is proportional to its size to the power of
            1 / this.
        repeat: if false, the sources with enough data are cut to match, and take up the rest in later epochs.
    """

    mode: Literal["dynamic", "single", "mixed"]
    steps_per_task: Shares | None
    source_weights: dict[str, PositiveWeight] | None
    size_temperature: float = Field(ge=1.0, le=1e6)
    repeat: bool


class ChunkParams(Section):
    """How the texts of a batch are laid out for the encoder: sorted by length into chunks that waste little padding."""

    tokens: Count
    max_padding: float = Field(ge=0.0, lt=1.0)


class TrainParams(Section):
    """Training. ``sharding`` changes no mathematics (see ``distributed.wrap``), ``grad_cache`` no gradient."""

    seed: Seed
    epochs: int = Field(ge=1, le=10_000)
    max_steps: Count | None
    batch_size: PerTask
    accumulation: int = Field(ge=1, le=10**6)
    learning_rate: float = Field(gt=0.0, le=1.0)
    warmup: Share
    weight_decay: float = Field(ge=0.0, le=10.0)
    max_gradient_norm: float = Field(gt=0.0, le=1e9)
    precision: Literal["fp32", "bf16"]
    sharding: Literal["ddp", "fsdp"]
    compile: bool
    gradient_checkpointing: bool
    grad_cache: bool
    matryoshka: MatryoshkaParams | None
    sampler: SamplerParams
    ir: IRParams
    sts: STSParams
    chunk: ChunkParams
    launch: LaunchParams
    checkpoint_every: Count | None
    log_every: Count
    loader_workers: int = Field(ge=0, le=1024)

    @model_validator(mode="after")
    def _mode_fits(self) -> Self:
        if self.sampler.mode == "single":
            if self.batch_size.ir != self.batch_size.sts:
                raise ValueError(
                    f"sampler.mode single has one batch size for both tasks; found batch_size.ir {self.batch_size.ir} "
                    f"and batch_size.sts {self.batch_size.sts}"
                )
            if self.sampler.steps_per_task is not None:
                raise ValueError("sampler.mode single takes as many steps as there are: steps_per_task must be null")
        if self.sampler.mode == "mixed" and (self.ir.cross_device or self.sts.cross_device):
            raise ValueError(
                "sampler.mode mixed gives the processes of a step different tasks: ir.cross_device and "
                "sts.cross_device must be false"
            )
        return self


def run_params(train: Mapping[str, Any], overrides: Mapping[str, Any], name: str) -> TrainParams:
    """Return the parameters of run ``name``.

    Args:
        train: the ``train`` section.
        overrides: keys of that section, as deep as needed, that this run sets otherwise.
        name: of the run, for messages.

    Raises:
        InputError: a key or value ``train`` does not take; names it as ``runs.<name>.<key>``.
    """
    return TrainParams.parse(laid_over(train, overrides), f"runs.{name}")


def laid_over(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` with those of ``overrides``, section by section."""
    merged = dict(values)
    for key, value in overrides.items():
        below = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        merged[key] = laid_over(below, value) if both else value
    return merged
