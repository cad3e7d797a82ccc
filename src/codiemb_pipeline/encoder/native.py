"""Models that bring Python code of their own, as classes of transformers instead.

A converter is chosen by the keys of ``config.json`` and the names of the tensors, never by the name of a folder or
model. What it does not know, such as another RoPE, experts or further multipliers, is refused.

MiniCPM's multipliers (arXiv 2404.06395) are those of ``GraniteModel``. Multi-head latent attention (arXiv 2405.04434)
without experts is ``YoutuModel``. Norms of queries and keys make a Llama a Qwen 3.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import (
    CONFIG_MAPPING,
    AutoTokenizer,
    GraniteConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    YoutuConfig,
)

from codiemb_pipeline.encoder.weights import has_weights, stored_tensors
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_object

MULTIPLIERS = ("scale_emb", "scale_depth", "dim_model_base")
SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
LATENT = ("kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim")
CHANGES_STATES = re.compile(r"scal|multipl|mup|soft_?cap|sliding|window|partial|alibi|parallel_|residual")
"""Names of settings that change token states: refused unless a converter knows them or their value is neutral."""
WITHOUT_EXPERTS = ("routed_scaling_factor",)  # changes nothing where there are no experts
NEUTRAL = (None, 0, 1, "", [], {})
SAMPLES = (
    *("the red dog", "中国的首都是哪里？", "two  spaces\tand\na line", "😀 3.14"),
    *("Ｆｕｌｌ ｗｉｄｔｈ １２ ①", "naïve ﬁlm e\u0301"),
)
"""Texts on which a converted tokenizer is compared: scripts, spaces, and characters that normalisers change."""


def read_config(folder: Path) -> dict[str, Any]:
    """Return the content of ``config.json`` of an encoder folder whose weights are its own, as they were trained.

    Raises:
        InputError: there is none, it is no JSON object, or the folder holds an adapter or quantised weights.
    """
    file = folder / "config.json"
    if (folder / "adapter_config.json").exists():
        raise InputError(
            f"{folder / 'adapter_config.json'}: expected whole weights, found an adapter of another model; merge it "
            f"into its base (peft: merge_and_unload) and save that"
        )
    if not file.exists():
        inner = [file.parent.name for file in sorted(folder.glob("0_*/config.json"))]  # as sentence-transformers had it
        hint = f"; in a copy, move what is in {inner[0]} beside modules.json, and let its path be ''" if inner else ""
        raise InputError(f"{file}: expected the model's configuration, found no such file{hint}")
    values = read_object(file)
    if values.get("quantization_config") is not None:
        raise InputError(
            f"{file}: quantization_config: expected weights as trained; get the model that is not quantised"
        )
    if values.get("transformers_weights") is not None:
        raise InputError(f"{file}: transformers_weights: expected weights under their usual names; remove the key")
    for key, kind in (("model_type", str), ("auto_map", dict)):
        if not isinstance(values.get(key), kind | None):
            raise InputError(f"{file}: {key}: expected {kind.__name__}, found {values[key]!r}")
    return values


def native_config(folder: Path) -> PreTrainedConfig | None:
    """Return the configuration under which transformers' own class loads a model that it would not load by itself.

    ``None`` where transformers has a class for the folder. A folder with ``config.json`` alone is enough for Granite
    and Youtu.

    Raises:
        InputError: no converter takes the folder; names the key or the tensors.
    """
    values = read_config(folder)
    own_code = {"AutoConfig", "AutoModel"} & (values.get("auto_map") or {}).keys()
    if values.get("model_type") in CONFIG_MAPPING and not own_code:
        return None
    try:
        return converted(values, set(stored_tensors(folder)) if has_weights(folder) else set())
    except InputError as error:
        kind = values.get("model_type")
        raise InputError(f"{folder}: no class of transformers fits model_type {kind!r}: {error}") from None


def converted(values: Mapping[str, Any], names: set[str]) -> PreTrainedConfig:
    """Return the configuration of transformers' own class for a model of own code.

    Args:
        values: content of its ``config.json``.
        names: names of its tensors; empty if they are not known.

    Raises:
        InputError: no converter fits, or the one that does meets what it does not know.
    """
    kinds = {re.sub(r"^(.+\.)?layers\.\d+\.", "", name) for name in names}
    if experts := sorted(name for name in names if ".experts." in name):
        raise InputError(f"expected no experts, found {len(experts)} tensors of experts ({experts[0]}, ...)")
    if all(values.get(key) is not None for key in MULTIPLIERS) and values.get("kv_lora_rank") is None:
        return _granite(values)
    if values.get("kv_lora_rank") is not None:
        return _youtu(values)
    if {"self_attn.q_norm.weight", "self_attn.k_norm.weight"} <= kinds:
        head_dim = values.get("head_dim") or _number(values, "hidden_size") // _number(values, "num_attention_heads")
        return _config(Qwen3Config, values, {"head_dim": head_dim})
    if {f"self_attn.{name}_proj.weight" for name in "qkvo"} <= kinds:
        return _config(LlamaConfig, values, {})
    raise InputError(
        f"expected {', '.join(MULTIPLIERS)} (Granite) or kv_lora_rank (Youtu) in config.json, or tensors named as those"
        f" of Qwen 3 or Llama; found neither"
    )


def _granite(values: Mapping[str, Any]) -> PreTrainedConfig:
    hidden, heads = _number(values, "hidden_size"), _number(values, "num_attention_heads")
    multipliers = {
        "embedding_multiplier": float(_number(values, "scale_emb")),
        "residual_multiplier": _number(values, "scale_depth") / math.sqrt(_number(values, "num_hidden_layers")),
        "attention_multiplier": (hidden // heads) ** -0.5,
        "logits_scaling": hidden / _number(values, "dim_model_base"),
    }
    # MiniCPM's config.json names no wavelengths where they are its code's default.
    values = {**values, "rope_theta": values.get("rope_theta") or 10000.0}
    return _config(GraniteConfig, values, multipliers, known=MULTIPLIERS)


def _youtu(values: Mapping[str, Any]) -> PreTrainedConfig:
    for key in LATENT:
        _number(values, key)
    interleave = values.get("rope_interleave")
    rope = {"rope_interleave": True if interleave is None else interleave, "q_lora_rank": values.get("q_lora_rank")}
    # Keys and values are expanded to all heads, whatever num_key_value_heads is.
    return _config(YoutuConfig, values, {**rope, "num_key_value_heads": values.get("num_attention_heads")})


def _config(
    kind: type[PreTrainedConfig], values: Mapping[str, Any], options: dict[str, Any], known: tuple[str, ...] = ()
) -> PreTrainedConfig:
    """Return a configuration of ``kind``: ``options``, and those settings in ``values`` that ``kind`` has."""
    for key in (*SIZES, "rms_norm_eps"):
        _number(values, key)
    settings = set(kind.__annotations__)
    ignored = values.keys() - settings - {*known, *WITHOUT_EXPERTS, "rope_scaling"}
    for key in sorted(ignored):
        if CHANGES_STATES.search(key) and (values[key] is True or values[key] not in NEUTRAL):
            raise InputError(f"config.json: {key}: {values[key]!r} has no counterpart in {kind.__name__}")
    copied = {key: values[key] for key in settings & values.keys() if values[key] is not None}
    options = {"num_key_value_heads": values["num_attention_heads"], **copied, **options}
    rope = {"rope_type": "default", "rope_theta": _rope_theta(values)}
    try:
        return kind(**{**options, "rope_parameters": rope, "tie_word_embeddings": False})
    except Exception as error:  # whatever the class says of a value
        raise InputError(f"config.json: {' '.join(str(error).split())}") from error


def _rope_theta(values: Mapping[str, Any]) -> float:
    """Return the base of RoPE's wavelengths; scaled RoPE is refused."""
    rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
    if (kind := rope.get("rope_type", rope.get("type", "default"))) != "default":
        raise InputError(f"config.json: expected RoPE without scaling, found {kind!r}")
    return float(_number({"rope_theta": values.get("rope_theta"), **rope}, "rope_theta"))


def _number(values: Mapping[str, Any], key: str) -> Any:
    """Return a number of config.json; the defaults of own code are not known, so that a missing one is an error."""
    value = values.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        raise InputError(f"config.json: {key}: expected a positive number, found {value!r}")
    return value


def load_tokenizer_backend(folder: Path) -> Any:
    """Return the tokenizer of a folder for whose model transformers has no class; no code of the folder is run.

    One that is a sentencepiece model alone is converted as transformers does, and compared with sentencepiece.

    Raises:
        InputError: the token ids of the two differ (transformers drops the normaliser of some models).
    """
    backend = AutoTokenizer.from_pretrained(folder, config=PreTrainedConfig(), trust_remote_code=False)
    file = folder / "tokenizer.model"
    if (folder / "tokenizer.json").exists() or not file.exists():
        return backend
    from sentencepiece import SentencePieceProcessor

    with TemporaryDirectory() as saved:  # as everyone who loads a saved encoder will have it
        backend.save_pretrained(saved)
        backend = PreTrainedTokenizerFast.from_pretrained(saved)
    original = SentencePieceProcessor(model_file=str(file))
    for text in SAMPLES:
        expected, found = original.encode(text), backend(text, add_special_tokens=False)["input_ids"]
        if found != expected:
            raise InputError(
                f"{file}: expected the token ids of sentencepiece, {expected} for {text!r}; transformers converts the "
                f"model to a tokenizer that gives {found}; put a tokenizer.json that gives the same ids beside it"
            )
    return backend
