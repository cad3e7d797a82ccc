"""The linear layer after pooling, and the width of what comes out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize

from codiemb_pipeline.artifacts.assemble import TokenStore
from codiemb_pipeline.encoder.checkpoint import (
    copy_encoder_files,
    first_projection,
    load_encoder,
    save_encoder,
    weights_digest,
)
from codiemb_pipeline.encoder.encode import encode_ids, encode_texts
from codiemb_pipeline.encoder.text_encoder import pool
from codiemb_pipeline.encoder.tokens import pad
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.encoder import ProjectionParams

TEXTS = ["the red dog", "cat", "a small bird of the river and a big fish of the mountain", "old news paper", ""]
LAYER = {"dimensions": 6, "seed": 7}


def full(encoder: Any, mid_layer: int | None = None) -> tuple[torch.Tensor, torch.Tensor | None]:
    rows, prompts = encoder.tokenize(TEXTS)
    with torch.no_grad():
        return encoder.model([pad(rows, prompts, encoder.pad_id)], mid_layer)


def trained(params: Any, folder: Path) -> Any:
    """Save an encoder whose projection has moved away from the seed's."""
    encoder = load_encoder(params)
    with torch.no_grad():
        encoder.model.projection.weight.mul_(-1.5)
        encoder.model.projection.bias.add_(0.25)
    save_encoder(encoder, folder)
    return encoder


@pytest.mark.parametrize("pooling", ["cls", "mean", "weighted_mean", "last"])
def test_projecting_token_states_and_then_pooling_is_the_same(changed, pooling):
    """As released: the layer stands before pooling. Last and middle layer go through the same one.

    Of ``weighted_mean`` the middle layer has the plain mean, as MiniCPM-Embedding weighs its last states alone.
    """
    of_middle = "mean" if pooling == "weighted_mean" else pooling
    encoder = load_encoder(changed(pooling=pooling, projection=LAYER, normalize=False))
    last, middle = full(encoder, 1)
    rows, _ = encoder.tokenize(TEXTS)
    for number, row in enumerate(rows):
        with torch.inference_mode():
            output = encoder.model.backbone(input_ids=torch.tensor([row]), output_hidden_states=True)
            last_and_middle = (output.last_hidden_state, last, pooling), (output.hidden_states[1], middle, of_middle)
            for states, found, how in last_and_middle:
                (expected,) = pool(encoder.model.projection(states), torch.ones(1, len(row), dtype=torch.long), how)
                torch.testing.assert_close(found[number], expected, atol=1e-5, rtol=0)


def test_normalising_comes_last(changed):
    raw, unit = (full(load_encoder(changed(projection=LAYER, normalize=value)))[0] for value in (False, True))
    torch.testing.assert_close(unit, normalize(raw, dim=-1), atol=1e-6, rtol=0)
    assert unit.shape == (len(TEXTS), 6)


def test_the_first_weights_come_from_the_seed_alone(changed):
    first = load_encoder(changed(projection=LAYER)).model.projection
    torch.manual_seed(1)
    second = load_encoder(changed(projection=LAYER)).model.projection
    other = load_encoder(changed(projection={**LAYER, "seed": 8})).model.projection
    state = torch.get_rng_state()
    assert torch.equal(first_projection(ProjectionParams(**LAYER), 16).weight, first.weight)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)
    assert not torch.equal(first.weight, other.weight)
    assert first.weight.abs().max() <= 1 / 16**0.5  # as torch.nn.Linear draws them, from +-1 / sqrt(width)
    assert first.weight.abs().max() > 0.8 / 16**0.5


def test_under_bf16_the_layer_works_in_float32(changed):
    encoder = load_encoder(changed(projection=LAYER))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert full(encoder)[0].dtype == torch.float32


def test_a_saved_projection_is_loaded_back_and_gets_gradients(changed, tmp_path):
    params = changed(projection=LAYER)
    encoder = trained(params, tmp_path)
    again = load_encoder(params, tmp_path)
    assert torch.equal(full(again)[0], full(encoder)[0])
    assert not torch.equal(full(load_encoder(params))[0], full(again)[0])
    rows, prompts = again.tokenize(TEXTS)
    again.model([pad(rows, prompts, again.pad_id)])[0][:, 0].sum().backward()
    assert again.model.projection.weight.grad.abs().sum() > 0
    assert json.loads((tmp_path / "2_Dense" / "config.json").read_text())["out_features"] == 6


@pytest.mark.parametrize("dimensions", [None, 4])
@pytest.mark.parametrize("projection", [None, LAYER])
@pytest.mark.parametrize("unit", [True, False])
def test_sentence_transformers_gives_the_same_numbers(
    changed, tmp_path, projection, dimensions, unit, sentence_transformers
):
    params = changed(projection=projection, dimensions=dimensions, normalize=unit)
    encoder = trained(params, tmp_path) if projection else load_encoder(params)
    save_encoder(encoder, tmp_path)
    ours = encode_texts(encoder, TEXTS, tokens_per_chunk=64)
    torch.testing.assert_close(sentence_transformers(tmp_path, TEXTS), ours, atol=1e-5, rtol=0)
    assert ours.shape[1] == (dimensions or (6 if projection else 16))
    assert torch.equal(encode_texts(load_encoder(params, tmp_path), TEXTS, tokens_per_chunk=64), ours)


@pytest.mark.parametrize("unit", [True, False])
def test_dimensions_cut_the_output_and_leave_training_the_whole(changed, tmp_path, unit):
    whole = full(load_encoder(changed(normalize=unit)))[0]
    encoder = load_encoder(changed(dimensions=5, normalize=unit))
    assert torch.equal(full(encoder)[0], whole)
    expected = normalize(whole[:, :5], dim=-1) if unit else whole[:, :5]
    torch.testing.assert_close(encoder.model.output(whole), expected)
    texts = encode_texts(encoder, TEXTS, tokens_per_chunk=1000)
    torch.testing.assert_close(texts, expected, atol=1e-5, rtol=0)
    TokenStore.write(tmp_path, *encoder.tokenize(TEXTS))
    ids = encode_ids(encoder, TokenStore(tmp_path), np.arange(len(TEXTS)), tokens_per_chunk=1000)
    torch.testing.assert_close(ids, expected, atol=1e-5, rtol=0)
    assert (encoder.model.width, encoder.model.output_width) == (16, 5)


def test_more_dimensions_than_there_are_is_an_error(changed):
    with pytest.raises(InputError, match=r"encoder\.dimensions: .*expected at most 16, .*found 17"):
        load_encoder(changed(dimensions=17))
    with pytest.raises(InputError, match=r"at most projection\.dimensions \(6\), found 7"):
        changed(projection=LAYER, dimensions=7)


def test_the_projection_is_weights_like_the_others(changed, tmp_path):
    """It is hashed, and not copied where a merge is to write its own; loading without it is an error."""
    params = changed(projection=LAYER, dimensions=4)
    encoder = trained(params, tmp_path / "a")
    before = weights_digest(tmp_path / "a")
    with torch.no_grad():
        encoder.model.projection.bias.add_(1)
    save_encoder(encoder, tmp_path / "a")
    assert weights_digest(tmp_path / "a") != before
    copy_encoder_files(tmp_path / "a", tmp_path / "b")
    assert not (tmp_path / "b" / "2_Dense" / "model.safetensors").exists()
    assert (tmp_path / "b" / "3_Truncate" / "model.safetensors").exists()
    (tmp_path / "b" / "model.safetensors").symlink_to(tmp_path / "a" / "model.safetensors")
    with pytest.raises(InputError, match=r"2_Dense/model\.safetensors: expected weights"):
        load_encoder(params, tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation_function": "torch.nn.modules.activation.Tanh"}, "activation_function: .*Identity.*Tanh"),
        ({}, r"\[6, 16\].*\[3, 16\]"),
    ],
)
def test_a_layer_of_another_kind_is_refused(changed, tmp_path, change, message):
    trained(changed(projection=LAYER), tmp_path)
    config = tmp_path / "2_Dense" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    tensors = load_file(tmp_path / "2_Dense" / "model.safetensors")
    save_file({name: tensor[:3].clone() for name, tensor in tensors.items()}, tmp_path / "2_Dense/model.safetensors")
    with pytest.raises(InputError, match=message):
        load_encoder(changed(projection=LAYER), tmp_path)
