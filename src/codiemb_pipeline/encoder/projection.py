"""The linear layer after pooling: its first weights, and the folder sentence-transformers keeps such a layer in."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.params.encoder import ProjectionParams

PROJECTION_FOLDER = "2_Dense"
WEIGHTS_FILE = "model.safetensors"
IDENTITY = "torch.nn.modules.linear.Identity"


def first_projection(params: ProjectionParams, width: int) -> nn.Linear:
    """Return the layer (width -> dimensions) before training: PyTorch's default distribution, drawn from the seed."""
    layer = nn.utils.skip_init(nn.Linear, width, params.dimensions)  # would draw from the global generator
    generator = torch.Generator().manual_seed(params.seed)
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
    bound = 1 / math.sqrt(width)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer


def load_projection(folder: Path, params: ProjectionParams, width: int) -> nn.Linear:
    """Return the layer of an encoder folder, or the first one where the folder has none.

    Raises:
        InputError: the folder's layer has no weights, another shape or an activation.
    """
    place = folder / PROJECTION_FOLDER
    layer = first_projection(params, width)
    if not place.exists():
        return layer
    config = read_json(place / "config.json")
    if config.get("activation_function") != IDENTITY:
        raise InputError(
            f"{place / 'config.json'}: activation_function: expected {IDENTITY}, found "
            f"{config.get('activation_function')!r}"
        )
    file = place / WEIGHTS_FILE
    if not file.exists():
        raise InputError(f"{file}: expected the weights of the projection, found no such file")
    tensors = load_file(file)
    wanted = {f"linear.{name}": list(tensor.shape) for name, tensor in layer.state_dict().items()}
    found = {name: list(tensor.shape) for name, tensor in tensors.items()}
    if found != wanted:
        raise InputError(f"{file}: expected tensors {wanted} (params.yaml, encoder.projection), found {found}")
    layer.load_state_dict({name.removeprefix("linear."): tensor for name, tensor in tensors.items()})
    return layer


def save_dense(weight: torch.Tensor, bias: torch.Tensor | None, place: Path) -> None:
    """Write a linear layer, weight (out, in), as sentence-transformers' ``Dense`` without activation."""
    out_features, in_features = weight.shape
    config = {"in_features": in_features, "out_features": out_features, "bias": bias is not None}
    write_json(place / "config.json", {**config, "activation_function": IDENTITY})
    tensors = {"linear.weight": weight} | ({} if bias is None else {"linear.bias": bias})
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(tensors, place / WEIGHTS_FILE, metadata={"format": "pt"})
