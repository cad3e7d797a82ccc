"""The files that make an encoder folder a sentence-transformers model with the same embeddings.

Their classic layout is written by hand: versions 5 and 6 both load it, and nothing of theirs is imported. What the
layout cannot express is returned in words, for the folder's ``codiemb.json``.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from codiemb_pipeline.encoder.backbone import hidden_size
from codiemb_pipeline.encoder.text_encoder import MEANS, Encoder
from codiemb_pipeline.encoder.tokens import TextTokenizer
from codiemb_pipeline.encoder.weights import WEIGHTS
from codiemb_pipeline.jsonl import read_json, write_json

MODES = {"cls": "cls_token", "mean": "mean_tokens", "weighted_mean": "weightedmean_tokens", "last": "lasttoken"}
PROJECTION_FOLDER, TRUNCATE_FOLDER = "2_Dense", "3_Truncate"
IDENTITY = "torch.nn.modules.linear.Identity"
PROBES = ["", "a", "b a", "a b " * 512]
AFTER_PROMPT = ("a", "the dog", "1", "的", "？")  # a letter, a word, and other kinds of characters


def weights_of(weights: Mapping[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    """Return the weights of one part of a model, by their names within it."""
    return {name.removeprefix(f"{part}."): tensor for name, tensor in weights.items() if name.startswith(f"{part}.")}


def write_sentence_transformers_files(encoder: Encoder, folder: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Write modules, their settings and the named prompts; ``weights`` are those of ``encoder.model`` by name."""
    params, model = encoder.params, encoder.model
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    if model.projection is not None:
        _save_dense(weights["projection.weight"], weights["projection.bias"], folder / PROJECTION_FOLDER)
        modules.append((PROJECTION_FOLDER, "Dense"))
    if model.output_width < model.width:
        # Their own truncate_dim cuts after normalising; a layer that copies the first dimensions cuts before.
        _save_dense(torch.eye(model.output_width, model.width), None, folder / TRUNCATE_FOLDER)
        modules.append((TRUNCATE_FOLDER, "Dense"))
    if params.normalize:
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
        (folder / modules[-1][0]).mkdir(exist_ok=True)
    entries = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(modules)
    ]
    write_json(folder / "modules.json", entries)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": params.max_length, "do_lower_case": False})
    pooling: dict[str, object] = {f"pooling_mode_{name}": params.pooling == kind for kind, name in MODES.items()}
    pooling["word_embedding_dimension"] = hidden_size(model.backbone)
    # Theirs excludes the prompt from every pooling, ours only from averages.
    pooling["include_prompt"] = params.prompts.in_pooling or params.pooling not in MEANS
    write_json(folder / "1_Pooling" / "config.json", pooling)
    prompts = {"prompts": encoder.prompts.named_prefixes(), "default_prompt_name": None, "similarity_fn_name": "cosine"}
    write_json(folder / "config_sentence_transformers.json", prompts)


def _save_dense(weight: torch.Tensor, bias: torch.Tensor | None, folder: Path) -> None:
    """Write a linear layer, weight (out, in), as sentence-transformers' ``Dense`` without activation."""
    out_features, in_features = weight.shape
    config = {"in_features": in_features, "out_features": out_features, "bias": bias is not None}
    write_json(folder / "config.json", {**config, "activation_function": IDENTITY})
    tensors = {"linear.weight": weight} | ({} if bias is None else {"linear.bias": bias})
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def put_end_token_into_tokenizer(tokenizer: TextTokenizer, folder: Path) -> None:
    """Change the saved tokenizer to append the end token that ``tokenizer`` appends, as far as its format allows."""
    file = folder / "tokenizer.json"
    if tokenizer.end_id is None or not file.exists():
        return
    state = json.loads(file.read_text(encoding="utf-8"))
    token = tokenizer.backend.convert_ids_to_tokens(tokenizer.end_id)
    state["post_processor"] = _ending(state["post_processor"], token, tokenizer.end_id)
    Tokenizer.from_str(json.dumps(state)).save(str(file))
    config = read_json(folder / "tokenizer_config.json")
    if {"add_bos_token", "add_eos_token"} & config.keys():  # these override the file
        write_json(folder / "tokenizer_config.json", {**config, "add_eos_token": True})


def _ending(processor: dict[str, Any] | None, token: str, token_id: int) -> dict[str, Any] | None:
    """Return the post-processor of a tokenizer.json with ``token`` appended; one of an unknown kind is unchanged."""
    in_sequence = processor is not None and processor["type"] == "Sequence"
    parts = processor["processors"] if in_sequence else [processor] if processor else []
    if not parts or parts[-1]["type"] == "ByteLevel":
        a, b = ({"Sequence": {"id": name, "type_id": index}} for index, name in enumerate("AB"))
        parts = [*parts, {"type": "TemplateProcessing", "single": [a], "pair": [a, b], "special_tokens": {}}]
    *others, template = parts
    if template["type"] != "TemplateProcessing":
        return processor
    piece = {"SpecialToken": {"id": token, "type_id": 0}}
    special = {**template["special_tokens"], token: {"id": token, "ids": [token_id], "tokens": [token]}}
    ended = {name: [*template[name], piece] for name in ("single", "pair")}
    template = {**template, **ended, "special_tokens": special}
    return {"type": "Sequence", "processors": [*others, template]} if others or in_sequence else template


def export_differences(tokenizer: TextTokenizer, folder: Path) -> list[str]:
    """Return in words where sentence-transformers computes other embeddings from the same folder."""
    params, differences = tokenizer.params, []
    prompts = sorted({prefix for prefix in tokenizer.prompts.named_prefixes().values() if prefix})
    skipped = prompts if params.pooling in MEANS and not params.prompts.in_pooling else []
    if tokenizer.end_id is None and not skipped:
        return differences
    longest = params.max_length
    theirs = AutoTokenizer.from_pretrained(folder, trust_remote_code=params.trust_remote_code)
    # sentence-transformers skips as many tokens as the prompt alone has, without an end token.
    prompt_ids = [theirs(prompt, truncation=True, max_length=longest)["input_ids"] for prompt in skipped]
    their_lengths = [len(ids) - (ids[-1] in theirs.all_special_ids) for ids in prompt_ids]
    our_lengths = [tokenizer.tokenize(AFTER_PROMPT, prompt)[1] for prompt in skipped]
    if any(set(ours) != {other} for ours, other in zip(our_lengths, their_lengths, strict=True)):
        differences.append(
            "with a prompt: sentence-transformers skips as many tokens as the prompt has alone, this pipeline those "
            "whose offsets lie inside the prompt; a token that begins in the prompt and ends in the text is pooled "
            "only by this pipeline"
        )
    their_ids = theirs(PROBES, truncation=True, max_length=longest)["input_ids"]
    if tokenizer.end_id is not None and their_ids != tokenizer.tokenize(PROBES)[0]:
        differences.append(f"append {tokenizer.backend.eos_token!r} yourself, as the last token after truncation")
    return differences
