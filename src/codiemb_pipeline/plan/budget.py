"""The steps, tokens, memory and disk of a run, given the number of examples of each source.

Memory and disk are sums of sizes; neither GPU nor weights are needed. Bytes per parameter: 4 for the weight, 4 for the
gradient, 8 for AdamW's moments; DDP adds 4 for its buckets of gradients; FSDP shares the 16 among the processes and
adds 12 for gathered weights, gradients and their buffer; bf16 autocast adds 2 for the cast weight. Bytes per token and
layer: what back-propagation keeps, by Korthikanti et al. 2022 (arXiv 2205.05198), equation 1, without the attention
scores, which fused attention does not keep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import AutoConfig, AutoModel

from codiemb_pipeline.artifacts.assemble import SourceRange
from codiemb_pipeline.encoder.checkpoint import base_folder
from codiemb_pipeline.errors import InputError, first_line
from codiemb_pipeline.locations import is_hub_id
from codiemb_pipeline.params import EncoderParams, TrainParams
from codiemb_pipeline.plan.example_counts import ExampleCount
from codiemb_pipeline.train.loop import plan_of_epoch, total_steps


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The steps and tokens of a run.

    Attributes:
        steps_per_epoch, steps: optimiser updates.
        drawn: examples of an epoch on all processes, by source.
        tokens: of the whole run, on all processes.
        tokens_at_once: padded tokens that one process encodes at once with gradient.
    """

    steps_per_epoch: int
    steps: int
    drawn: Mapping[str, int]
    tokens: int
    tokens_at_once: int


def run_budget(counts: Sequence[ExampleCount], max_length: int, train: TrainParams, processes: int) -> Budget:
    """Return the steps and tokens of a run.

    Args:
        counts: of the sources.
        max_length: the length of every text of a source whose lengths are unknown.
        train: the ``train`` section.
        processes: on all machines.

    Raises:
        InputError: the sources do not fill a batch, or have too few examples for the sampler.
    """
    stops = np.cumsum([count.examples for count in counts]).tolist()
    sources = [
        SourceRange(name=count.name, task=count.task, start=stop - count.examples, stop=stop)
        for count, stop in zip(counts, stops, strict=True)
    ]
    plan = plan_of_epoch(train, sources, 0, processes)
    steps, batch_sizes = total_steps(train, len(plan)), train.batch_size.model_dump()
    slots = np.bincount(plan.slot_source, minlength=len(sources)).tolist()
    drawn = {count.name: slot * batch_sizes[count.task] for count, slot in zip(counts, slots, strict=True)}
    per_example = {count.name: _tokens_of_example(count, max_length, train) for count in counts}
    tokens_per_epoch = sum(number * per_example[name] for name, number in drawn.items())
    at_once = max(batch_sizes[count.task] * per_example[count.name] for count in counts) / (1 - train.chunk.max_padding)
    return Budget(
        steps_per_epoch=len(plan),
        steps=steps,
        drawn=drawn,
        tokens=int(tokens_per_epoch * steps / max(len(plan), 1)),
        tokens_at_once=int(min(at_once, train.chunk.tokens) if train.grad_cache else at_once),
    )


def _tokens_of_example(count: ExampleCount, max_length: int, train: TrainParams) -> float:
    query, positive, negative = count.lengths or (max_length, max_length, max_length)
    if count.task == "sts":
        return query + positive
    return query + train.ir.positives * positive + train.ir.hard_negatives * negative


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """The size of a backbone; its feed-forward layers are ``gated`` if they have a third matrix."""

    parameters: int
    layers: int
    width: int
    feed_forward: int
    gated: bool


def model_size(params: EncoderParams, available: bool = True) -> ModelSize:
    """Return the size of a backbone from its configuration, which is fetched from the hub when it is not cached.

    Raises:
        InputError: the encoder is not ``available``, or no model can be built from its configuration.
    """
    if not available:  # the hub would be asked again, with a longer timeout
        enough = "a folder with its config.json and its own code is enough for the plan: set encoder.path to that"
        raise InputError(f"{params.path} is not available; {enough}")
    options = {"trust_remote_code": params.trust_remote_code}
    try:
        path = params.path if is_hub_id(params.path) else base_folder(params)
        config = AutoConfig.from_pretrained(path, revision=params.revision, **options)
        with torch.device("meta"):
            backbone = AutoModel.from_config(config, **options)
    except Exception as error:  # whatever transformers, the hub or the model's own code raises
        raise InputError(f"params.yaml: encoder.path: {params.path}: size unknown: {first_line(error)}") from error
    text = config.get_text_config()
    return ModelSize(
        parameters=sum(parameter.numel() for parameter in backbone.parameters()),
        layers=int(text.num_hidden_layers),
        width=int(text.hidden_size),
        feed_forward=int(text.intermediate_size),
        gated=any(".gate_" in name or ".w3." in name for name, _ in backbone.named_parameters()),
    )


def training_memory(size: ModelSize, train: TrainParams, *, processes: int, tokens: int) -> tuple[int, int]:
    """Return the bytes of one process without the CUDA context (some hundred MB).

    Args:
        size: of the backbone.
        train: the ``train`` section.
        processes: on all machines.
        tokens: padded tokens encoded at once with gradient.

    Returns:
        Bytes of weights, gradients and optimiser state with their buffers; and of what back-propagation keeps.
    """
    half, per_parameter = train.precision == "bf16", 16.0
    if processes > 1:
        per_parameter = 12 + 16 / processes if train.sharding == "fsdp" else 20.0
    model = int(size.parameters * (per_parameter + (2 if half else 0)))
    layer, layer_input = bytes_per_token(size, half=half), (2 if half else 4) * size.width
    recomputed = train.gradient_checkpointing
    return model, tokens * (size.layers * layer_input + layer if recomputed else size.layers * layer)


def bytes_per_token(size: ModelSize, *, half: bool) -> int:
    """Return what one layer keeps of a token for back-propagation."""
    in_half = 18 * size.width + (8 if size.gated else 4) * size.feed_forward
    return in_half if half else 2 * in_half


def disk_bytes(size: ModelSize, *, checkpoints: int, merged: int) -> int:
    """Return the disk of float32 models, in the workspace and in DVC's cache, and of one optimiser state.

    With reflinks the cache takes no disk of its own.
    """
    return (2 * 4 * (checkpoints + merged) + 8) * size.parameters


def training_flops(size: ModelSize, tokens: int, *, recomputed: bool) -> float:
    """Return the floating point operations of training: 6 for each parameter and token, 8 with recomputation."""
    return (8.0 if recomputed else 6.0) * size.parameters * tokens
