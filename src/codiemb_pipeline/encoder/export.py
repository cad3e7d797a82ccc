"""The files that make an encoder folder a sentence-transformers model with the same vectors.

Their classic layout is written by hand: versions 5 and 6 both load it, and no import of theirs is needed. What it
can't say is returned in words, for the folder's ``codiemb.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from codiemb_pipeline.encoder.pooling import MEANS
from codiemb_pipeline.encoder.projection import PROJECTION_FOLDER, save_dense
from codiemb_pipeline.encoder.text_encoder import Encoder, hidden_size
from codiemb_pipeline.encoder.tokens import TextTokenizer
from codiemb_pipeline.jsonl import read_json, write_json

MODES = {"cls": "cls_token", "mean": "mean_tokens", "weighted_mean": "weightedmean_tokens", "last": "lasttoken"}
TRUNCATE_FOLDER = "3_Truncate"
PROBES = ("", "a", "b a", "a b " * 512)
BEHIND = ("a", "the dog", "1", "的", "？")  # texts behind a prompt: a letter, a word, other kinds of characters


def weights_of(weights: Mapping[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    """Return the weights of one part of a model, by their names within it."""
    return {name.removeprefix(f"{part}."): tensor for name, tensor in weights.items() if name.startswith(f"{part}.")}


def write_sentence_transformers_files(
    encoder: Encoder, folder: Path, weights: Mapping[str, torch.Tensor] | None = None
) -> None:
    """Write modules, their settings and the named prompts beside the weights and tokenizer.

    Args:
        encoder: what is exported.
        folder: where.
        weights: those of ``encoder.model`` by name, where it does not hold them itself.
    """
    params, model = encoder.params, encoder.model
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    if model.projection is not None:
        layer = model.projection.state_dict() if weights is None else weights_of(weights, "projection")
        save_dense(layer["weight"], layer["bias"], folder / PROJECTION_FOLDER)
        modules.append((PROJECTION_FOLDER, "Dense"))
    if model.output_width < model.width:
        # Their own truncate_dim cuts after normalising; a layer that copies the first numbers cuts before.
        save_dense(torch.eye(model.output_width, model.width), None, folder / TRUNCATE_FOLDER)
        modules.append((TRUNCATE_FOLDER, "Dense"))
    if params.normalize:
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
        (folder / modules[-1][0]).mkdir(exist_ok=True)
    entries = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(modules)
    ]
    write_json(folder / "modules.json", entries)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": params.max_length, "do_lower_case": False})
    pooling: dict[str, object] = {f"pooling_mode_{name}": params.pooling == kind for kind, name in MODES.items()}
    pooling["word_embedding_dimension"] = hidden_size(model.backbone)
    # Theirs leaves the prompt out of every pooling, ours out of the averages alone.
    pooling["include_prompt"] = params.prompts.in_pooling or params.pooling not in MEANS
    write_json(folder / "1_Pooling" / "config.json", pooling)
    prompts = {"prompts": encoder.prompts.named_prefixes(), "default_prompt_name": None, "similarity_fn_name": "cosine"}
    write_json(folder / "config_sentence_transformers.json", prompts)


def put_end_token_into_tokenizer(tokenizer: TextTokenizer, folder: Path) -> None:
    """Change the saved tokenizer so that it ends every text as ``tokenizer`` does, as far as its format allows."""
    file = folder / "tokenizer.json"
    if tokenizer.end_id is None or not file.exists():
        return
    state = json.loads(file.read_text(encoding="utf-8"))
    token = tokenizer.backend.convert_ids_to_tokens(tokenizer.end_id)
    state["post_processor"] = _ending(state["post_processor"], token, tokenizer.end_id)
    Tokenizer.from_str(json.dumps(state)).save(str(file))
    config = read_json(folder / "tokenizer_config.json")
    if {"add_bos_token", "add_eos_token"} & config.keys():  # these are obeyed in place of the file
        write_json(folder / "tokenizer_config.json", {**config, "add_eos_token": True})


def _ending(processor: dict[str, Any] | None, token: str, token_id: int) -> dict[str, Any] | None:
    """Return a post-processor (tokenizer.json's) that ends texts in ``token``; of an unknown kind, the same."""
    piece = {"SpecialToken": {"id": token, "type_id": 0}}
    kind = processor["type"] if processor else None
    if processor is None or kind == "ByteLevel":
        a, b = ({"Sequence": {"id": name, "type_id": number}} for number, name in enumerate("AB"))
        bare = {"type": "TemplateProcessing", "single": [a], "pair": [a, b], "special_tokens": {}}
        template = _ending(bare, token, token_id)
        return template if processor is None else {"type": "Sequence", "processors": [processor, template]}
    if kind == "TemplateProcessing":
        ended = {name: [*processor[name], piece] for name in ("single", "pair")}
        known = {**processor["special_tokens"], token: {"id": token, "ids": [token_id], "tokens": [token]}}
        return {**processor, **ended, "special_tokens": known}
    if kind == "Sequence" and processor["processors"]:
        *others, last = processor["processors"]
        ended = _ending(last, token, token_id)
        parts = ended["processors"] if last["type"] == "ByteLevel" else [ended]
        return {**processor, "processors": [*others, *parts]}
    return processor


def what_sentence_transformers_does_otherwise(tokenizer: TextTokenizer, folder: Path) -> list[str]:
    """Return in words where sentence-transformers will give other vectors than we do from the same folder."""
    params, differences = tokenizer.params, []
    prompts = sorted({prefix for prefix in tokenizer.prompts.named_prefixes().values() if prefix})
    left_out = prompts if params.pooling in MEANS and not params.prompts.in_pooling else []
    if params.pooling == "weighted_mean" and left_out:
        differences.append("behind a prompt: it weighs tokens by their place in prompt and text, we in the text alone")
    if tokenizer.end_id is None and not left_out:
        return differences
    theirs = AutoTokenizer.from_pretrained(folder, trust_remote_code=params.trust_remote_code)
    longest = params.max_length
    if any(set(tokenizer.tokenize(BEHIND, text)[1]) != {_their_length(theirs, text, longest)} for text in left_out):
        differences.append(
            "behind a prompt: it leaves out as many tokens as the prompt has alone, we those wholly within it; a token "
            "that begins in the prompt and reaches into the text counts here and not there"
        )
    probes = list(PROBES)
    their_ids = theirs(probes, truncation=True, max_length=longest)["input_ids"]
    if tokenizer.end_id is not None and their_ids != tokenizer.tokenize(probes)[0]:
        differences.append(f"append {tokenizer.backend.eos_token!r} yourself, as the last token after the cut")
    return differences


def _their_length(tokenizer: Any, prompt: str, longest: int) -> int:
    """Return how many tokens sentence-transformers takes for the prompt: all of the prompt alone, but for an end."""
    ids = tokenizer(prompt, truncation=True, max_length=longest)["input_ids"]
    return len(ids) - (ids[-1] in tokenizer.all_special_ids)
