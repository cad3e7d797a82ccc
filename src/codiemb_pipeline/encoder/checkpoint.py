"""Encoder folders in and out: Hugging Face weights and tokenizer, and the sentence-transformers files around them.

``codiemb.json`` keeps the settings a folder was made under; loading it under others is refused. Nothing is decided by
the name of a folder or model.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import AutoTokenizer

from codiemb_pipeline import locations
from codiemb_pipeline.encoder.backbone import load_backbone, must_count_positions
from codiemb_pipeline.encoder.compatibility import compare, embedding_settings
from codiemb_pipeline.encoder.export import (
    put_end_token_into_tokenizer,
    weights_of,
    what_sentence_transformers_does_otherwise,
    write_sentence_transformers_files,
)
from codiemb_pipeline.encoder.own_code import check_pinned, prepare_own_code
from codiemb_pipeline.encoder.projection import PROJECTION_FOLDER, WEIGHTS_FILE, load_projection
from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.encoder.text_encoder import Encoder, TextEncoder, hidden_size
from codiemb_pipeline.encoder.tokens import TextTokenizer
from codiemb_pipeline.errors import InputError, first_line
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.params.encoder import EncoderParams

SETTINGS_FILE = "codiemb.json"
NOT_LOADED = ["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.msgpack", "*.ot"]  # the same weights for others to read
DECIDING_PATTERNS = ("config.json", "token*", "vocab*", "*.py")
WEIGHT_PATTERNS = ("*.safetensors", "pytorch_model*.bin", "*.safetensors.index.json", "*.bin.index.json")


def base_folder(params: EncoderParams) -> Path:
    """Return the local folder of the base encoder; a hub id is fetched (or found in the hub's cache) first.

    Raises:
        InputError: the path or package is not there, the hub can't be reached and has nothing cached, or its code may
            run and no commit is pinned.
    """
    if not locations.is_hub_id(params.path):
        return locations.resolve(params.path, field="encoder.path")
    check_pinned(params)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(params.path, revision=params.revision, ignore_patterns=NOT_LOADED))
    except Exception as error:
        raise InputError(
            f"params.yaml: encoder.path: {params.path!r} is no folder here, and the hub gave no such model: "
            f"{first_line(error)}"
        ) from error


def load_tokenizer(params: EncoderParams, folder: Path | None = None) -> TextTokenizer:
    """Load the tokenizer of the base (``folder`` None) or of an encoder folder; no weights.

    Raises:
        InputError: nothing lies there, the folder was made under other settings, its own code may not run or fails, or
            the tokenizer can't do what is asked of it.
    """
    place = folder or base_folder(params)
    _check_settings(place, params)
    prepare_own_code(place, params)
    backend = AutoTokenizer.from_pretrained(place, trust_remote_code=params.trust_remote_code)
    if not backend.is_fast:
        raise InputError(
            f"{place}: expected a fast tokenizer (prompt lengths are found by token offsets), found a slow one"
        )
    if params.append_eos and backend.eos_token_id is None:
        raise InputError(
            f"params.yaml: encoder.append_eos: {place}: the tokenizer has no end-of-sequence token; say false"
        )
    backend.model_max_length = params.max_length
    backend.padding_side = "right"  # of an exported folder; sentence-transformers tells no model its positions
    ends_itself = backend("a")["input_ids"][-1:] == [backend.eos_token_id]
    end_id = int(backend.eos_token_id) if params.append_eos and not ends_itself else None
    return TextTokenizer(backend, params, PromptBook(params.prompts), end_id)


def load_encoder(params: EncoderParams, folder: Path | None = None) -> Encoder:
    """Load the base (``folder`` None) or an encoder folder, in float32, on the GPU when there is one, ready to encode.

    Raises:
        InputError: nothing lies there, the folder was made under other settings, or the backbone can't do what is
            asked of it.
    """
    place = folder or base_folder(params)
    tokenizer = load_tokenizer(params, place)
    backbone = load_backbone(place, params)
    width = hidden_size(backbone)
    projection = load_projection(place, params.projection, width) if params.projection else None
    count = params.padding_side == "left" and must_count_positions(backbone, place, tokenizer.pad_id)
    model = TextEncoder(backbone, params, projection, count_positions=count).eval()
    if model.output_width > model.width:
        raise InputError(
            f"params.yaml: encoder.dimensions: {place}: expected at most {model.width}, the width of its embeddings; "
            f"found {params.dimensions}"
        )
    return Encoder(model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer)


def save_encoder(encoder: Encoder, folder: Path, weights: Mapping[str, torch.Tensor] | None = None) -> None:
    """Write an encoder folder; the same weights and settings give the same bytes.

    ``codiemb.json`` says under ``sentence_transformers_differs`` where that library would give other vectors.

    Args:
        encoder: what to write.
        folder: made when missing.
        weights: those of ``encoder.model`` by name, where it does not hold them itself (it is sharded).
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = None if weights is None else weights_of(weights, "backbone")
    encoder.model.backbone.save_pretrained(folder, state_dict=parts)
    backend = encoder.tokenizer.backend
    # Encoding leaves its truncation in what would be written: the bytes would tell whether it had been used.
    backend.backend_tokenizer.no_truncation()
    backend.backend_tokenizer.no_padding()
    backend.save_pretrained(folder)
    put_end_token_into_tokenizer(encoder.tokenizer, folder)
    write_sentence_transformers_files(encoder, folder, weights)
    differences = what_sentence_transformers_does_otherwise(encoder.tokenizer, folder)
    settings = embedding_settings(encoder.params)
    write_json(folder / SETTINGS_FILE, {**settings, "sentence_transformers_differs": differences})


def copy_encoder_files(source: Path, target: Path) -> None:
    """Copy all of an encoder folder but its weights, the projection's too."""

    def weights(place: str, names: list[str]) -> list[str]:
        if Path(place) not in (source, source / PROJECTION_FOLDER):
            return []
        return [name for name in names if any(Path(name).match(pattern) for pattern in WEIGHT_PATTERNS)]

    shutil.copytree(source, target, ignore=weights, dirs_exist_ok=True)


def weights_digest(folder: Path) -> str:
    """Return a hash of the folder's weight files, the projection's too.

    Raises:
        InputError: it has none.
    """
    files = sorted({file for pattern in WEIGHT_PATTERNS for file in folder.glob(pattern)})
    if not files:
        raise InputError(f"{folder}: expected an encoder folder with weights (model.safetensors), found none")
    projection = folder / PROJECTION_FOLDER / WEIGHTS_FILE
    digest = hashlib.sha256()
    for file in [*files, projection] if projection.exists() else files:
        with file.open("rb") as stream:
            digest.update(file.relative_to(folder).as_posix().encode() + hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def files_digest(folder: Path) -> str:
    """Return a hash of what beside the weights decides an embedding: configuration, tokenizer and code of its own."""
    digest = hashlib.sha256()
    for file in sorted({file for pattern in DECIDING_PATTERNS for file in folder.glob(pattern)}):
        digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _check_settings(folder: Path, params: EncoderParams) -> None:
    if (folder / SETTINGS_FILE).exists():
        advice = "train again, or restore the setting"
        compare(read_json(folder / SETTINGS_FILE), embedding_settings(params), where=str(folder), advice=advice)
