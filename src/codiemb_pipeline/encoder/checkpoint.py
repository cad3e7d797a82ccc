"""Encoder folders in and out: Hugging Face weights and tokenizer, and the sentence-transformers files around them.

The classic sentence-transformers layout is written by hand: versions 5 and 6 both load it, and no import of theirs is
needed. ``codiemb.json`` keeps the settings a folder was made under; loading it under others is refused.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import torch
import transformers
from transformers import AutoModel, AutoTokenizer

from codiemb_pipeline import locations
from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.encoder.text_encoder import Encoder, TextEncoder
from codiemb_pipeline.encoder.tokens import TextTokenizer
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.params.encoder import EncoderParams

SETTINGS_FILE = "codiemb.json"
WEIGHT_PATTERNS = ("*.safetensors", "pytorch_model*.bin", "*.safetensors.index.json", "*.bin.index.json")


def base_folder(params: EncoderParams) -> Path:
    """Return the local folder of the base encoder; a hub id is fetched (or found in the hub's cache) first.

    Raises:
        InputError: the path or package is not there, or the hub can't be reached and has nothing cached.
    """
    if params.path.startswith(locations.PACKAGE_PREFIX) or Path(params.path).exists():
        return locations.resolve(params.path, field="encoder.path")
    if params.path.startswith((".", "/", "~")) or params.path.count("/") != 1:
        return locations.resolve(params.path, field="encoder.path")  # no hub id: says what was looked for
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(params.path, revision=params.revision))
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"params.yaml: encoder.path: {params.path!r} is no folder here, and the hub gave no such model: {reason}"
        ) from error


def load_tokenizer(params: EncoderParams, folder: Path | None = None) -> TextTokenizer:
    """Load the tokenizer of the base (``folder`` None) or of an encoder folder; no weights."""
    place = folder or base_folder(params)
    _check_settings(place, params)
    backend = AutoTokenizer.from_pretrained(place, trust_remote_code=params.trust_remote_code)
    if not backend.is_fast:
        raise InputError(
            f"{place}: expected a fast tokenizer (prompt lengths are found by token offsets), found a slow one"
        )
    backend.model_max_length = params.max_length
    backend.padding_side = "right"
    return TextTokenizer(backend, params, PromptBook(params.prompts))


def load_encoder(params: EncoderParams, folder: Path | None = None) -> Encoder:
    """Load the base (``folder`` None) or an encoder folder, in float32, on the GPU when there is one, ready to encode.

    Raises:
        InputError: nothing lies there, or the folder was made under other settings.
    """
    place = folder or base_folder(params)
    tokenizer = load_tokenizer(params, place)
    transformers.utils.logging.disable_progress_bar()
    backbone = AutoModel.from_pretrained(place, dtype=torch.float32, trust_remote_code=params.trust_remote_code)
    model = TextEncoder(backbone, params).eval()
    return Encoder(model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer)


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Write an encoder folder; the same weights and settings give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder.model.backbone.save_pretrained(folder)
    backend = encoder.tokenizer.backend
    # Encoding leaves its truncation in what would be written: the bytes would tell whether it had been used.
    backend.backend_tokenizer.no_truncation()
    backend.backend_tokenizer.no_padding()
    backend.save_pretrained(folder)
    _write_sentence_transformers_files(encoder, folder)
    write_json(folder / SETTINGS_FILE, _settings(encoder.params))


def copy_encoder_files(source: Path, target: Path) -> None:
    """Copy all of an encoder folder but its weights."""

    def weights(_: str, names: list[str]) -> list[str]:
        return [name for name in names if any(Path(name).match(pattern) for pattern in WEIGHT_PATTERNS)]

    shutil.copytree(source, target, ignore=weights, dirs_exist_ok=True)


def weights_digest(folder: Path) -> str:
    """Return a hash of the folder's weight files.

    Raises:
        InputError: it has none.
    """
    files = sorted({file for pattern in WEIGHT_PATTERNS for file in folder.glob(pattern)})
    if not files:
        raise InputError(f"{folder}: expected an encoder folder with weights (model.safetensors), found none")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(file.name.encode() + hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _settings(params: EncoderParams) -> dict[str, object]:
    """Return the settings an embedding depends on beside the weights."""
    kept = params.model_dump(include={"pooling", "normalize", "max_length"})
    return {**kept, "prompts": PromptBook(params.prompts).digest()}


def _check_settings(folder: Path, params: EncoderParams) -> None:
    if not (folder / SETTINGS_FILE).exists():
        return
    made, wanted = read_json(folder / SETTINGS_FILE), _settings(params)
    for key in wanted:
        if made.get(key) != wanted[key]:
            raise InputError(
                f"{folder}: made under {key} = {made.get(key)!r}, but params.yaml, encoder now says {wanted[key]!r}; "
                f"train again, or restore the setting"
            )


def _write_sentence_transformers_files(encoder: Encoder, folder: Path) -> None:
    params = encoder.params
    package = "sentence_transformers.models"
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")] + [("2_Normalize", "Normalize")] * params.normalize
    entries = [
        {"idx": number, "name": str(number), "path": path, "type": f"{package}.{kind}"}
        for number, (path, kind) in enumerate(modules)
    ]
    write_json(folder / "modules.json", entries)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": params.max_length, "do_lower_case": False})
    mode = {"cls": "cls_token", "mean": "mean_tokens", "last": "lasttoken"}
    pooling: dict[str, object] = {f"pooling_mode_{name}": params.pooling == kind for kind, name in mode.items()}
    pooling["word_embedding_dimension"] = int(encoder.model.backbone.config.hidden_size)
    # Theirs leaves the prompt out of every pooling, ours out of ``mean`` alone.
    pooling["include_prompt"] = params.prompts.in_pooling or params.pooling != "mean"
    write_json(folder / "1_Pooling" / "config.json", pooling)
    if params.normalize:
        (folder / "2_Normalize").mkdir(exist_ok=True)
    prompts = {"prompts": encoder.prompts.named_prefixes(), "default_prompt_name": None, "similarity_fn_name": "cosine"}
    write_json(folder / "config_sentence_transformers.json", prompts)
