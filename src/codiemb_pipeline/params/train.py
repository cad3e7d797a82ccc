"""The ``train`` section: sampler, losses, optimiser, checkpoints and the processes."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from codiemb_pipeline.params.base import Section


class PerTask(Section):
    """A positive whole number for each task."""

    ir: int = Field(ge=1)
    sts: int = Field(ge=1)


class Shares(Section):
    """Relative numbers of steps per task; 0 leaves a task out."""

    ir: float = Field(ge=0.0)
    sts: float = Field(ge=0.0)

    @model_validator(mode="after")
    def _any(self) -> Self:
        if self.ir + self.sts == 0:
            raise ValueError("one share at least must be above 0")
        return self


class SamplerParams(Section):
    """Which source each step draws from (every step is of one source, the same on every process).

    Attributes:
        steps_per_task: relative numbers of steps of each task, or ``null`` for as many as the data give.
        repeat: whether a task with too little data for its share is repeated within the epoch; otherwise the other task
            is cut to match, and takes up the rest in later epochs.
    """

    steps_per_task: Shares | None
    repeat: bool


class IRParams(Section):
    """The retrieval objective.

    Attributes:
        temperature: divisor of similarities in InfoNCE.
        positives: positives shown per query and step (fewer where a query has fewer).
        hard_negatives: mined negatives shown per query and step.
        cross_device: whether the documents of the other processes serve as negatives too.
    """

    temperature: float = Field(gt=0.0)
    positives: int = Field(ge=1)
    hard_negatives: int = Field(ge=0)
    cross_device: bool


class MidLayerParams(Section):
    """InfoNCE between the texts of good pairs, on a middle layer.

    Attributes:
        weight: of this part in the objective; 0 turns it off.
        layer: index of the hidden state, 0 being the input embeddings; ``null`` takes half of the layers.
        threshold: pairs with gold (on the scale [0, 1]) at or above it count as positives of each other.
        temperature: divisor of similarities.
    """

    weight: float = Field(ge=0.0)
    layer: int | None = Field(ge=0)
    threshold: float = Field(ge=0.0, le=1.0)
    temperature: float = Field(gt=0.0)


class STSParams(Section):
    """The similarity objective: a weighted sum of losses on the order of a batch of pairs.

    Attributes:
        pearson: weight of the Pearson loss.
        rank_kl: weight of RankKL.
        rank_kl_temperature: its temperature.
        pro: weight of PRO.
        pro_temperature: its temperature.
        mid_layer: the middle-layer part.
        cross_device: whether the lists are ordered over the pairs of all processes together.
    """

    pearson: float = Field(ge=0.0)
    rank_kl: float = Field(ge=0.0)
    rank_kl_temperature: float = Field(gt=0.0)
    pro: float = Field(ge=0.0)
    pro_temperature: float = Field(gt=0.0)
    mid_layer: MidLayerParams
    cross_device: bool


class ChunkParams(Section):
    """How the texts of a batch are laid out for the encoder: sorted by length into chunks that waste little padding.

    Attributes:
        tokens: padded tokens per forward pass, at most.
        max_padding: share of padding in a chunk, at most.
    """

    tokens: int = Field(ge=1)
    max_padding: float = Field(ge=0.0, lt=1.0)


class LaunchParams(Section):
    """The processes, as torchrun starts them.

    Attributes:
        nproc_per_node: processes on each machine.
        nnodes: machines.
        node_rank: this machine's number, for more than one.
        rendezvous_endpoint: ``host:port`` all machines reach; ``null`` for one machine.
        rendezvous_id: name of the meeting, the same on all machines.
        backend: ``gloo`` (CPU) or ``nccl`` (GPU).
        threads: CPU threads per process; ``null`` shares the cores out.
    """

    nproc_per_node: int = Field(ge=1)
    nnodes: int = Field(ge=1)
    node_rank: int = Field(ge=0)
    rendezvous_endpoint: str | None
    rendezvous_id: str
    backend: Literal["gloo", "nccl"]
    threads: int | None = Field(ge=1)

    @model_validator(mode="after")
    def _many_nodes(self) -> Self:
        if self.nnodes > 1 and self.rendezvous_endpoint is None:
            raise ValueError("rendezvous_endpoint is needed when nnodes is above 1")
        return self


class TrainParams(Section):
    """Training.

    Attributes:
        seed: of the plan, the choice of positives, and dropout.
        epochs: passes over the plan.
        max_steps: end after so many optimiser updates; ``null`` for the end of the last epoch.
        batch_size: queries (``ir``) or pairs (``sts``) per process and micro-batch.
        accumulation: micro-batches per optimiser update.
        learning_rate: the highest, after warm-up; falls linearly to 0.
        warmup: share of all updates spent warming up.
        weight_decay: AdamW's, not applied to biases and norms.
        max_gradient_norm: gradients are clipped to it.
        precision: ``fp32`` or ``bf16`` (autocast).
        gradient_checkpointing: recompute activations to save memory.
        sampler, ir, sts, chunk, launch: see there.
        checkpoint_every: updates between checkpoints; ``null`` for one per epoch.
        log_every: updates between log lines and rows of the curves.
        loader_workers: worker processes that prepare batches, per training process.
    """

    seed: int
    epochs: int = Field(ge=1)
    max_steps: int | None = Field(ge=1)
    batch_size: PerTask
    accumulation: int = Field(ge=1)
    learning_rate: float = Field(gt=0.0)
    warmup: float = Field(ge=0.0, le=1.0)
    weight_decay: float = Field(ge=0.0)
    max_gradient_norm: float = Field(gt=0.0)
    precision: Literal["fp32", "bf16"]
    gradient_checkpointing: bool
    sampler: SamplerParams
    ir: IRParams
    sts: STSParams
    chunk: ChunkParams
    launch: LaunchParams
    checkpoint_every: int | None = Field(ge=1)
    log_every: int = Field(ge=1)
    loader_workers: int = Field(ge=0)
