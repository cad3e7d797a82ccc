"""The memory of one training process and the disk of a run, as sums of sizes. Arithmetic alone: no GPU, no weights.

Per parameter, in bytes: weights 4, gradient 4, AdamW's two moments 8; with DDP 4 more for the buckets gradients travel
in; with FSDP the first three shared out over the processes, and 12 for gathered weights, gradients, and the buffer they
travel in; under bf16 autocast 2 more for the cast weights. Per token and layer, what back-propagation keeps:
Korthikanti et al. 2022 (arXiv 2205.05198), equation 1, without the attention scores, which fused attention forgets.
"""

from __future__ import annotations

from dataclasses import dataclass

from codiemb_pipeline.params.train import TrainParams

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """What a backbone is made of.

    Attributes:
        parameters: how many numbers.
        layers: transformer layers.
        width: of a token's state.
        feed_forward: width inside a layer's feed-forward part.
        gated: whether that part has a gate (SwiGLU): three matrices instead of two.
    """

    parameters: int
    layers: int
    width: int
    feed_forward: int
    gated: bool


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of one process.

    Attributes:
        model: weights, gradients, optimiser, and what they travel in.
        activations: what back-propagation keeps of the largest micro-batch, or of one chunk with GradCache.
    """

    model: int
    activations: int

    @property
    def all(self) -> int:
        """Both; the CUDA context, some hundred MB, comes on top."""
        return self.model + self.activations


def training_memory(size: ModelSize, train: TrainParams, *, processes: int, tokens: int) -> TrainingMemory:
    """Return the bytes of one process.

    Args:
        size: of the backbone.
        train: the ``train`` section.
        processes: on all machines.
        tokens: padded tokens encoded at once with gradient.
    """
    half = train.precision == "bf16"
    per_parameter = 16.0
    if processes > 1:
        per_parameter = 12 + 16 / processes if train.sharding == "fsdp" else 20.0
    model = int(size.parameters * (per_parameter + (2 if half else 0)))
    number = 2 if half else 4
    layer = bytes_per_token(size, half=half)
    kept = number * size.width if train.gradient_checkpointing else layer
    activations = tokens * size.layers * kept + (tokens * layer if train.gradient_checkpointing else 0)
    return TrainingMemory(model, int(activations))


def bytes_per_token(size: ModelSize, *, half: bool) -> int:
    """Return what one layer keeps of a token for back-propagation."""
    in_half = 18 * size.width + (8 if size.gated else 4) * size.feed_forward
    return in_half if half else 2 * in_half


def checkpoint_bytes(size: ModelSize) -> int:
    """Return the bytes of one encoder folder, in float32."""
    return 4 * size.parameters


def disk_bytes(size: ModelSize, *, checkpoints: int, merged: int) -> int:
    """Return the disk that models take: each once in the workspace and once in DVC's cache, and the optimiser's state.

    On file systems with reflinks the cache takes nothing more.

    Args:
        size: of the backbone.
        checkpoints: of all runs.
        merged: number of merge recipes.
    """
    return 2 * (checkpoints + merged) * checkpoint_bytes(size) + 8 * size.parameters


def training_flops(size: ModelSize, tokens: int, *, recomputed: bool) -> float:
    """Return the floating point operations of training on ``tokens``: 6 a parameter and token, 8 when recomputed."""
    return (8.0 if recomputed else 6.0) * size.parameters * tokens
