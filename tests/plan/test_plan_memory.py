"""The memory told before a run: by hand, and against what a real backbone keeps for back-propagation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel

from codiemb_pipeline.params import Params
from codiemb_pipeline.plan.memory import ModelSize, bytes_per_token, disk_bytes, training_flops, training_memory

VALUES = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
SIZE = ModelSize(parameters=1000, layers=2, width=8, feed_forward=32, gated=False)


def train_params(**changes):
    return Params.parse({**VALUES, "train": {**VALUES["train"], **changes}}, "").train


def test_weights_gradients_and_moments_are_16_bytes_a_parameter_and_buckets_4_more():
    assert training_memory(SIZE, train_params(), processes=1, tokens=0).model == 16_000
    assert training_memory(SIZE, train_params(), processes=4, tokens=0).model == 20_000


def test_sharding_shares_out_16_bytes_and_adds_12():
    sharded = train_params(sharding="fsdp")
    assert training_memory(SIZE, sharded, processes=8, tokens=0).model == 14_000
    assert training_memory(SIZE, sharded, processes=1, tokens=0).model == 16_000, "one process shares with nobody"


def test_activations_by_hand():
    """Half precision: 18 * 8 + 4 * 32 = 272 bytes a token and layer; checkpointed 2 * 8 = 16, and one layer whole."""
    half = training_memory(SIZE, train_params(precision="bf16"), processes=1, tokens=10)
    assert half.activations == 10 * 2 * 272
    assert training_memory(SIZE, train_params(), processes=1, tokens=10).activations == 2 * half.activations
    checkpointed = train_params(precision="bf16", gradient_checkpointing=True)
    assert training_memory(SIZE, checkpointed, processes=1, tokens=10).activations == 10 * 2 * 16 + 10 * 272


def test_disk_and_work_by_hand():
    assert disk_bytes(SIZE, checkpoints=3, merged=2) == 2 * 5 * 4000 + 8000
    assert training_flops(SIZE, 10, recomputed=False) == 60_000
    assert training_flops(SIZE, 10, recomputed=True) == 80_000


def kept_bytes(model: torch.nn.Module, rows: int, tokens: int) -> int:
    """Return the bytes a forward pass keeps for back-propagation, weights not counted, each storage once."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}
    held = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)  # or its address would be given to another
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(input_ids=torch.randint(0, 50, (rows, tokens))).last_hidden_state
    del output
    return sum(kept.values())


@pytest.mark.parametrize("gated", [False, True], ids=["BERT", "Llama"])
def test_a_real_layer_keeps_about_what_is_told(gated: bool):
    """Two depths, so that the embeddings cancel out; no dropout of attention, for which the CPU has no fused kernel."""
    common = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 192, "vocab_size": 50}
    common |= {} if gated else {"attention_probs_dropout_prob": 0.0}
    config, model = (LlamaConfig, LlamaModel) if gated else (BertConfig, BertModel)
    rows, tokens = 4, 32
    measured = []
    for layers in (2, 4):
        torch.manual_seed(0)
        measured.append(kept_bytes(model(config(**common, num_hidden_layers=layers)).train(), rows, tokens))
    per_token = (measured[1] - measured[0]) / 2 / (rows * tokens)
    size = ModelSize(parameters=0, layers=1, width=64, feed_forward=192, gated=gated)
    assert bytes_per_token(size, half=False) == pytest.approx(per_token, rel=0.3)
