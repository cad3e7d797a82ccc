"""Models whose code the hub brings, loaded as classes of transformers: the same function, and nothing of theirs run."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_architectures import DECODER, MINICPM, YOUTU, make_llama, make_minicpm, make_qwen3, make_youtu
from torch import Tensor
from torch.nn.functional import silu
from transformers import AutoModel, AutoTokenizer, PreTrainedConfig

from codiemb_pipeline.encoder.backbone import load_backbone
from codiemb_pipeline.encoder.checkpoint import load_encoder, load_tokenizer, save_encoder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.encoder.native import converted, native_config
from codiemb_pipeline.errors import InputError

IDS = torch.randint(3, 300, (2, 12), generator=torch.Generator().manual_seed(5))
MASK = torch.ones(2, 12, dtype=torch.long)
MASK[1, 9:] = 0
TOLERANCE = 5e-6
REAL = {  # openbmb/MiniCPM-Embedding's config.json
    **{"hidden_size": 2304, "intermediate_size": 5760, "num_hidden_layers": 40, "num_attention_heads": 36},
    **{"num_key_value_heads": 36, "rms_norm_eps": 1e-5, "vocab_size": 122753, "max_position_embeddings": 512},
    **{"scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 256, "rope_scaling": None, "is_causal": False},
    **{"hidden_act": "silu", "architectures": ["MiniCPM"], "auto_map": {"AutoModel": "modeling_minicpm.MiniCPM"}},
}


@pytest.fixture(scope="module")
def minicpm(tmp_path_factory) -> Path:
    return make_minicpm(tmp_path_factory.mktemp("base") / "minicpm")


@pytest.fixture(scope="module")
def youtu(tmp_path_factory) -> Path:
    return make_youtu(tmp_path_factory.mktemp("base") / "youtu")


def weights(folder: Path) -> dict[str, Tensor]:
    return {name: x.float() for file in folder.glob("*.safetensors") for name, x in load_file(file).items()}


def normed(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def angles(width: int, theta: float) -> Tensor:
    """Return the angle of each position and pair, (12, width / 2)."""
    return torch.outer(torch.arange(12.0), theta ** (-torch.arange(0, width, 2) / width))


def attended(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """Return softmax(QK / sqrt(d)) V of (B, heads, T, d), as (B, T, heads * d)."""
    visible = MASK.bool()[:, None, None, :].expand(2, 1, 12, 12)
    if causal:
        visible = visible & torch.ones(12, 12).tril().bool()
    scores = (query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])).masked_fill(~visible, -1e9)
    return (scores.softmax(-1) @ value).transpose(1, 2).reshape(2, 12, -1)


def feed_forward(tensors: dict[str, Tensor], layer: str, x: Tensor) -> Tensor:
    gate, up, down = (tensors[f"{layer}mlp.{name}_proj.weight"].T for name in ("gate", "up", "down"))
    return (silu(x @ gate) * (x @ up)) @ down


def minicpm_states(tensors: dict[str, Tensor], causal: bool) -> Tensor:
    """Return MiniCPM's token states in plain tensors: scaled embeddings and damped residuals (arXiv 2404.06395)."""
    eps, damping = MINICPM["rms_norm_eps"], MINICPM["scale_depth"] / math.sqrt(2)
    x = tensors["embed_tokens.weight"][IDS] * MINICPM["scale_emb"]
    turn = torch.cat([angles(8, 10000.0)] * 2, dim=-1)
    for layer in ("layers.0.", "layers.1."):
        h = normed(x, tensors[f"{layer}input_layernorm.weight"], eps)
        parts = ((h @ tensors[f"{layer}self_attn.{name}_proj.weight"].T).view(2, 12, -1, 8) for name in "qkv")
        query, key, value = (part.transpose(1, 2) for part in parts)
        query, key = (
            part * turn.cos() + torch.cat([-part[..., 4:], part[..., :4]], -1) * turn.sin() for part in (query, key)
        )
        key, value = (part.repeat_interleave(2, dim=1) for part in (key, value))
        x = x + damping * attended(query, key, value, causal) @ tensors[f"{layer}self_attn.o_proj.weight"].T
        h = normed(x, tensors[f"{layer}post_attention_layernorm.weight"], eps)
        x = x + damping * feed_forward(tensors, layer, h)
    return normed(x, tensors["norm.weight"], eps)


def youtu_states(tensors: dict[str, Tensor], causal: bool) -> Tensor:
    """Return states of multi-head latent attention in plain tensors (arXiv 2405.04434); RoPE turns neighbours."""
    turn, x = angles(8, 500.0), tensors["embed_tokens.weight"][IDS]

    def turned(part: Tensor) -> Tensor:
        even, odd = part[..., ::2], part[..., 1::2]
        return torch.cat([even * turn.cos() - odd * turn.sin(), odd * turn.cos() + even * turn.sin()], dim=-1)

    for layer in ("layers.0.", "layers.1."):
        attention = {name.removeprefix(f"{layer}self_attn."): tensor for name, tensor in tensors.items()}
        h = normed(x, tensors[f"{layer}input_layernorm.weight"], 1e-6)
        low = normed(h @ attention["q_a_proj.weight"].T, attention["q_a_layernorm.weight"], 1e-6)
        query = (low @ attention["q_b_proj.weight"].T).view(2, 12, 4, 12).transpose(1, 2)
        latent, shared = (h @ attention["kv_a_proj_with_mqa.weight"].T).split([16, 8], dim=-1)
        latent = normed(latent, attention["kv_a_layernorm.weight"], 1e-6)
        both = (latent @ attention["kv_b_proj.weight"].T).view(2, 12, 4, 12).transpose(1, 2)
        key = torch.cat([both[..., :4], turned(shared[:, None]).expand(2, 4, 12, 8)], dim=-1)
        query = torch.cat([query[..., :4], turned(query[..., 4:])], dim=-1)
        x = x + attended(query, key, both[..., 4:], causal) @ attention["o_proj.weight"].T
        h = normed(x, tensors[f"{layer}post_attention_layernorm.weight"], 1e-6)
        x = x + feed_forward(tensors, layer, h)
    return normed(x, tensors["norm.weight"], 1e-6)


def difference(folder: Path, formula: Callable[..., Tensor], *, causal: bool, **changes: Any) -> float:
    """Return how far states of the native class lie from the formula's; ``changes`` make its configuration wrong."""
    config = native_config(folder)
    for key, value in {"is_causal": causal, **changes}.items():
        setattr(config, key, value)
    native = AutoModel.from_pretrained(folder, config=config, dtype=torch.float32)
    with torch.inference_mode():
        states = native(input_ids=IDS, attention_mask=MASK).last_hidden_state
    return float((states - formula(weights(folder), causal))[MASK.bool()].abs().max())


@pytest.mark.parametrize("causal", [False, True])
def test_granite_with_four_multipliers_is_minicpm(minicpm, causal):
    assert difference(minicpm, minicpm_states, causal=causal) < TOLERANCE


@pytest.mark.parametrize(
    "change",
    [
        {"embedding_multiplier": 1.0},
        {"residual_multiplier": 1.0},
        {"residual_multiplier": 1.4 / 2},
        {"attention_multiplier": 1 / 8},
        {"attention_multiplier": 1.0},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}},
        {"rms_norm_eps": 1e-6},
    ],
)
def test_another_multiplier_base_or_epsilon_is_another_model(minicpm, change):
    assert difference(minicpm, minicpm_states, causal=False, **change) > TOLERANCE


@pytest.mark.parametrize("causal", [False, True])
def test_youtu_is_latent_attention_with_interleaved_rope(youtu, causal):
    assert difference(youtu, youtu_states, causal=causal) < TOLERANCE


@pytest.mark.parametrize(
    "change",
    [
        {"rope_interleave": False},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
        {"rms_norm_eps": 1e-4},
    ],
)
def test_another_rope_or_epsilon_is_another_youtu(youtu, change):
    assert difference(youtu, youtu_states, causal=False, **change) > TOLERANCE


def test_the_real_configuration_has_the_real_number_of_parameters():
    """mteb's entry of MiniCPM-Embedding has 2,724,880,896."""
    config = converted(REAL, set())
    assert (config.residual_multiplier, config.attention_multiplier) == (0.22135943621178653, 0.125)
    assert (config.embedding_multiplier, config.logits_scaling) == (12.0, 9.0)
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == 2_724_880_896


@pytest.mark.parametrize(("make", "kind"), [(make_minicpm, "granite"), (make_youtu, "youtu")])
def test_a_folder_of_the_hub_becomes_a_plain_one_and_none_of_its_code_is_run(
    changed, tmp_path, make, kind, sentence_transformers
):
    """Its code raises when it is imported."""
    params = changed(path=str(make(tmp_path / "hub")), bidirectional=True, pooling="weighted_mean")
    encoder, texts = load_encoder(params), ["the red dog", "学生看医生", "  a  bird\nof the river"]
    save_encoder(encoder, tmp_path / "saved")
    config = json.loads((tmp_path / "saved/config.json").read_text())
    assert (config["model_type"], config["is_causal"], config.get("auto_map")) == (kind, False, None)
    assert not [*(tmp_path / "saved").glob("*.py"), *(tmp_path / "saved").glob("tokenizer.model")]
    ours = encode_texts(encoder, texts, tokens_per_chunk=100)
    again = encode_texts(load_encoder(params, tmp_path / "saved"), texts, tokens_per_chunk=100)
    assert torch.equal(ours, again)
    torch.testing.assert_close(sentence_transformers(tmp_path / "saved", texts), ours, atol=1e-6, rtol=0)


@pytest.mark.parametrize("make", [make_qwen3, make_llama])
def test_plain_tensors_under_own_code_are_those_of_qwen_3_and_llama(changed, tmp_path, make):
    """Also under the keys that RoPE had before transformers 5."""
    native = load_backbone(make(tmp_path / "native"), changed())
    folder = make(tmp_path / "own")
    values = json.loads((folder / "config.json").read_text())
    values |= {"model_type": "utu", "rope_theta": values.pop("rope_parameters")["rope_theta"], "rope_scaling": None}
    values["auto_map"] = {"AutoConfig": "configuration_utu.C", "AutoModel": "modeling_utu.M"}
    (folder / "config.json").write_text(json.dumps(values))
    own = load_backbone(folder, changed())
    assert type(own) is type(native)
    with torch.inference_mode():
        assert torch.equal(own(IDS % 90).last_hidden_state, native(IDS % 90).last_hidden_state)


LLAMA = {f"layers.0.self_attn.{name}_proj.weight" for name in "qkvo"}
SIZES = {**DECODER, "vocab_size": 90, "rms_norm_eps": 1e-6, "rope_theta": 10000.0}


@pytest.mark.parametrize(
    ("values", "names", "named"),
    [
        (SIZES, {"layers.0.attention.qkv.weight"}, "kv_lora_rank"),
        (SIZES, set(), "kv_lora_rank"),
        (SIZES, {*LLAMA, "layers.1.mlp.experts.0.up_proj.weight"}, r"layers\.1\.mlp\.experts\.0"),
        ({**SIZES, "rope_scaling": {"type": "linear", "factor": 2.0}}, LLAMA, "'linear'"),
        ({**SIZES, "rope_scaling": {"rope_type": "longrope"}, **MINICPM}, LLAMA, "'longrope'"),
        ({**SIZES, "rope_scaling": {"rope_type": "yarn"}, **YOUTU}, set(), "'yarn'"),
        ({**SIZES, "scale_emb": 12}, LLAMA, "scale_emb: 12 has no counterpart in LlamaConfig"),
        ({**SIZES, **MINICPM, "residual_scale": 2}, LLAMA, "residual_scale"),
        ({**SIZES, "sliding_window": 64}, LLAMA, "sliding_window"),
        ({**SIZES, "partial_rotary_factor": 0.5}, LLAMA, "partial_rotary_factor"),
        ({**SIZES, "rms_norm_eps": None}, LLAMA, "rms_norm_eps"),
        ({**SIZES, "rope_theta": None}, LLAMA, "rope_theta"),
        ({**SIZES, **YOUTU, "v_head_dim": None}, set(), "v_head_dim"),
        ({**SIZES, "attention_bias": "yes"}, LLAMA, "attention_bias"),
    ],
)
def test_what_no_converter_knows_is_refused_and_named(values, names, named):
    with pytest.raises(InputError, match=named):
        converted(values, names)


def test_settings_that_are_off_are_no_reason_to_refuse():
    off = {"sliding_window": None, "residual_scale": 1.0, "use_scaled_rope": False, "n_routed_experts": None}
    assert converted({**SIZES, **off, "routed_scaling_factor": 2.5}, LLAMA).rope_parameters["rope_theta"] == 10000.0


def test_a_folder_that_transformers_has_a_class_for_is_not_converted(tmp_path):
    assert native_config(make_qwen3(tmp_path)) is None


def test_a_tokenizer_whose_ids_are_not_those_of_sentencepiece_is_refused(changed, minicpm, tmp_path):
    """transformers 5 drops the normaliser of a sentencepiece model; one that changes nothing is no loss."""
    load_tokenizer(changed(path=str(minicpm)))
    folder = make_minicpm(tmp_path, normalisation="nmt_nfkc")
    with pytest.raises(InputError, match=r"tokenizer\.model: expected the token ids of sentencepiece"):
        load_tokenizer(changed(path=str(folder)))
    plain = AutoTokenizer.from_pretrained(minicpm, config=PreTrainedConfig(), trust_remote_code=False)
    plain.save_pretrained(folder)  # a tokenizer.json beside it is what counts
    load_tokenizer(changed(path=str(folder)))


def test_a_damaged_weight_file_or_tokenizer_is_named(changed, tmp_path):
    folder = make_minicpm(tmp_path / "weights")
    file = folder / "model-00002-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match=str(file)):
        load_backbone(folder, changed(path=str(folder)))
    folder = make_minicpm(tmp_path / "tokenizer")
    (folder / "tokenizer.model").write_bytes(b"")
    with pytest.raises(InputError, match=str(folder)):
        load_tokenizer(changed(path=str(folder)))
