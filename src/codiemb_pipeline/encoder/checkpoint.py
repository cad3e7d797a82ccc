"""Encoder folders in and out: Hugging Face weights and tokenizer, and the sentence-transformers files around them.

``codiemb.json`` holds the settings that a folder was made under; loading it under others is refused. The name of a
folder or model decides nothing.
"""

import hashlib
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoTokenizer

from codiemb_pipeline import locations
from codiemb_pipeline.encoder.backbone import backbone_outline, hidden_size, load_backbone, must_count_positions
from codiemb_pipeline.encoder.compatibility import compare, embedding_settings
from codiemb_pipeline.encoder.export import (
    PROJECTION_FOLDER,
    export_differences,
    put_end_token_into_tokenizer,
    weights_of,
    write_sentence_transformers_files,
)
from codiemb_pipeline.encoder.modules import check_modules, projection_folder
from codiemb_pipeline.encoder.native import load_tokenizer_backend, native_config
from codiemb_pipeline.encoder.own_code import prepare_own_code, runs_own_code
from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.encoder.text_encoder import Encoder, TextEncoder
from codiemb_pipeline.encoder.tokens import TextTokenizer
from codiemb_pipeline.encoder.weights import AGAIN, PICKLED, WEIGHTS, stored_tensors
from codiemb_pipeline.errors import InputError, first_line, what_is
from codiemb_pipeline.hub import Repository
from codiemb_pipeline.jsonl import read_object, write_json
from codiemb_pipeline.params.encoder import EncoderParams, ProjectionParams

SETTINGS_FILE = "codiemb.json"
COMMIT = re.compile(r"[0-9a-f]{40}")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
)
SPARE_ROWS = (0.05, 64)
"""Share or number of rows of the embeddings that may belong to no token: models round up (DeepSeek by 0.023)."""
NOT_LOADED = ("onnx/*", "openvino/*", "*.onnx", "*.h5", "*.msgpack", "*.ot")  # the same weights for other frameworks
DECIDING_PATTERNS = ("config.json", "token*", "vocab*", "*.py")
WEIGHT_PATTERNS = ("*.safetensors", "pytorch_model*.bin", "*.safetensors.index.json", "*.bin.index.json")


def base_folder(params: EncoderParams) -> Path:
    """Return the local folder of the base encoder; a model of the hub is first fetched, or found in the hub's cache.

    Raises:
        InputError: the path or package does not exist, the hub does not give the model (:meth:`Repository.fetch`), or
            code from the hub may run and ``revision`` is not a commit.
    """
    if not locations.is_hub_id(params.path):
        return locations.resolve(params.path, field="encoder.path")
    if params.trust_remote_code and not COMMIT.fullmatch(params.revision or ""):
        raise InputError(
            f"params.yaml: encoder.revision: {params.path}: with trust_remote_code: true expected the commit whose "
            f"code you trust, 40 hexadecimal digits; found {params.revision!r}"
        )
    return model_of(params).fetch(field="encoder.path", by_hand="set it to a folder with the model's files")


def model_of(params: EncoderParams) -> Repository:
    """Return the files of a model of the hub that are loaded."""
    return Repository(params.path, "model", params.revision, ignore=NOT_LOADED)


def load_tokenizer(params: EncoderParams, folder: Path | None = None) -> TextTokenizer:
    """Load the tokenizer of an encoder folder, or of the base if ``folder`` is ``None``, and check all but the weights.

    Raises:
        InputError: there is none, the folder was made under other settings, its own code may not run or fails, the
            tokenizer lacks what is needed or is another model's, ``max_length`` exceeds the model's positions, or the
            folder's sentence-transformers files ask for what the settings don't express.
    """
    folder = folder or base_folder(params)
    if (folder / SETTINGS_FILE).exists():
        advice = "train again, or restore the setting"
        compare(read_object(folder / SETTINGS_FILE), embedding_settings(params), where=str(folder), advice=advice)
    prepare_own_code(folder, params)
    outline, backend = backbone_outline(folder, params), _load_backend(folder, params)
    if not backend.is_fast:
        raise InputError(f"{folder}: expected a fast tokenizer, which gives the offsets of tokens; found a slow one")
    _check_size(backend, outline, params, folder)
    check_modules(folder, params, lambda text: backend(text)["input_ids"])
    if backend.pad_token is None:  # sentence-transformers needs one; padding is masked, whatever it is
        backend.pad_token = backend.eos_token or backend.unk_token
    if params.append_eos and backend.eos_token_id is None:
        raise InputError(
            f"params.yaml: encoder.append_eos: {folder}: the tokenizer has no end-of-sequence token; set it to false"
        )
    backend.model_max_length = params.max_length
    backend.padding_side = "right"  # of an exported folder: sentence-transformers passes no positions to a model
    ends_itself = backend("a")["input_ids"][-1:] == [backend.eos_token_id]
    end_id = int(backend.eos_token_id) if params.append_eos and not ends_itself else None
    return TextTokenizer(backend, params, PromptBook(params.prompts), end_id)


def _load_backend(folder: Path, params: EncoderParams) -> Any:
    own_code = runs_own_code(folder, params)
    for name in TOKENIZER_FILES:
        if (folder / name).exists():
            read_object(folder / name)
    try:
        if not own_code and native_config(folder) is not None:
            backend = load_tokenizer_backend(folder)
        else:
            backend = AutoTokenizer.from_pretrained(folder, trust_remote_code=own_code)
    except InputError:
        raise
    except Exception as error:  # whatever transformers and sentencepiece raise on a folder
        patterns = ("tokenizer.json", "*.model", "vocab*", "merges.txt")
        files = [file for pattern in patterns for file in sorted(folder.glob(pattern))]
        seen = ", ".join(f"{file.name}, {what_is(file)}" for file in files) or "none of its files"
        raise InputError(
            f"{folder}: expected a tokenizer that transformers can load, found {seen} ({first_line(error)}); copy or "
            f"fetch its files again"
        ) from error
    # Without these files, transformers makes a tokenizer of the special tokens alone.
    names = dict(backend.vocab_files_names)
    whole = names.pop("tokenizer_file", None)
    lacking = [name for name in names.values() if not (folder / name).is_file()]
    if lacking and (whole is None or not (folder / whole).is_file()):
        either = f"{whole}, or {' and '.join(names.values())}"
        raise InputError(
            f"{folder}: expected the tokenizer's files, {either}; found no {lacking[0]}; copy or fetch them again"
        )
    if "merges_file" in names and (whole is None or not (folder / whole).is_file()):
        _check_merges(backend, folder / names["merges_file"])
    return backend


def _check_merges(backend: Any, file: Path) -> None:
    """Raise an InputError unless the merges of byte pairs in ``file`` make the longer tokens: half a file is a file."""
    made = sum(len(token) > 1 for token in backend.get_vocab().keys() - backend.get_added_vocab().keys())
    merges = [line for line in file.read_text(encoding="utf-8").split("\n") if line and not line.startswith("#version")]
    if len(merges) < (1 - SPARE_ROWS[0]) * made:
        raise InputError(
            f"{file}: expected about {made} merges, as the vocabulary has longer tokens, found {len(merges)}; {AGAIN}"
        )


def _check_size(backend: Any, outline: nn.Module, params: EncoderParams, folder: Path) -> None:
    """Raise an InputError unless the model has a row for each token, hardly any more, and ``max_length`` positions."""
    config, tokens = outline.config.get_text_config(), backend.get_vocab()
    rows = getattr(config, "vocab_size", None)
    if not isinstance(rows, int):
        raise InputError(f"{folder / 'config.json'}: vocab_size: expected the rows of the embeddings, found {rows!r}")
    if beyond := sorted((number, token) for token, number in tokens.items() if number >= rows):
        raise InputError(
            f"{folder}: expected token ids below {rows}, the rows of the model's embeddings (vocab_size); found "
            f"{len(beyond)} beyond, the first is {beyond[0][0]} for {beyond[0][1]!r}; resize the embeddings to its "
            f"tokens, or take the model's own tokenizer"
        )
    if rows - len(tokens) > max(SPARE_ROWS[0] * rows, SPARE_ROWS[1]):
        raise InputError(
            f"{folder}: expected a tokenizer of about {rows} tokens, as the model's embeddings have rows (vocab_size); "
            f"found {len(tokens)}: another model's, or a part; copy or fetch its files again"
        )
    positions = getattr(config, "max_position_embeddings", None)
    tables = [module for name, module in outline.named_modules() if name.endswith("position_embeddings")]
    if not isinstance(positions, int) or (runs_own_code(folder, params) and not tables):
        return
    # RoBERTa and its kind begin to count behind the row of padding.
    first = max(
        [table.padding_idx + 1 for table in tables if getattr(table, "padding_idx", None) is not None], default=0
    )
    longest = int(positions * max(1.0, _rope_factor(config))) - first
    if params.max_length > longest:
        raise InputError(
            f"params.yaml: encoder.max_length: {folder}: expected at most {longest}, the positions of the model "
            f"(max_position_embeddings {positions} in its config.json); found {params.max_length}"
        )


def _rope_factor(config: Any) -> float:
    """Return by how much a RoPE is stretched beyond the positions it was trained on; 1 where it is not."""
    rope = getattr(config, "rope_parameters", None)
    factor = rope.get("factor", 1) if isinstance(rope, dict) else 1
    return float(factor) if isinstance(factor, int | float) else 1.0


def load_encoder(params: EncoderParams, folder: Path | None = None) -> Encoder:
    """Load an encoder folder, or the base if ``folder`` is ``None``, in float32, on the GPU when there is one.

    Raises:
        InputError: there is none, the folder was made under other settings, or the backbone can't do what the settings
            ask for.
    """
    folder = folder or base_folder(params)
    tokenizer = load_tokenizer(params, folder)
    backbone = load_backbone(folder, params)
    projection = _load_projection(folder, params.projection, hidden_size(backbone)) if params.projection else None
    count = params.padding_side == "left" and must_count_positions(backbone, folder, tokenizer.pad_id)
    model = TextEncoder(backbone, params, projection, count_positions=count).eval()
    if model.output_width > model.width:
        raise InputError(
            f"params.yaml: encoder.dimensions: {folder}: expected at most {model.width}, the width of its embeddings; "
            f"found {params.dimensions}"
        )
    return Encoder(model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer)


def first_projection(params: ProjectionParams, width: int) -> nn.Linear:
    """Return the untrained layer (width -> dimensions), drawn from its seed as PyTorch draws a linear layer."""
    layer = nn.utils.skip_init(nn.Linear, width, params.dimensions)  # leaves the global generator alone
    generator = torch.Generator().manual_seed(params.seed)
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
    bound = 1 / math.sqrt(width)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer


def _load_projection(encoder_folder: Path, params: ProjectionParams, width: int) -> nn.Linear:
    """Return the layer of an encoder folder, or the untrained one where the folder has none."""
    layer, folder = first_projection(params, width), projection_folder(encoder_folder)
    if folder is None and (encoder_folder / SETTINGS_FILE).exists():
        raise InputError(f"{encoder_folder / PROJECTION_FOLDER}: expected the trained projection, found none; {AGAIN}")
    if folder is None:
        return layer
    tensors = stored_tensors(folder)
    wanted = {f"linear.{name}": list(tensor.shape) for name, tensor in layer.state_dict().items()}
    found = {name: list(tensor.shape) for name, tensor in tensors.items()}
    if found != wanted:
        raise InputError(f"{folder}: expected tensors {wanted} (params.yaml, encoder.projection), found {found}")
    for name, tensor in tensors.items():
        if tensor.dtype is None or not tensor.read().isfinite().all():
            raise InputError(f"{tensor.file}: tensor {name!r}: expected finite floating-point numbers, found others")
    layer.load_state_dict(weights_of({name: tensor.read() for name, tensor in tensors.items()}, "linear"))
    return layer


def save_encoder(encoder: Encoder, folder: Path, weights: Mapping[str, torch.Tensor] | None = None) -> None:
    """Write an encoder folder; the same weights and settings give the same bytes.

    ``codiemb.json`` lists under ``sentence_transformers_differs`` where that library computes other embeddings.
    ``weights`` are those of ``encoder.model`` by name, where it does not hold them itself (it is sharded).
    """
    weights = encoder.model.state_dict() if weights is None else weights
    folder.mkdir(parents=True, exist_ok=True)
    encoder.model.backbone.save_pretrained(folder, state_dict=weights_of(weights, "backbone"))
    backend = encoder.tokenizer.backend
    # Truncation that encoding has set would be written too, and the bytes depend on whether the encoder was used.
    backend.backend_tokenizer.no_truncation()
    backend.backend_tokenizer.no_padding()
    backend.save_pretrained(folder)
    put_end_token_into_tokenizer(encoder.tokenizer, folder)
    write_sentence_transformers_files(encoder, folder, weights)
    differences = export_differences(encoder.tokenizer, folder)
    settings = embedding_settings(encoder.params)
    write_json(folder / SETTINGS_FILE, {**settings, "sentence_transformers_differs": differences})


def copy_encoder_files(source: Path, target: Path) -> None:
    """Copy an encoder folder without its weights and those of its projection."""

    def weights(folder: str, names: list[str]) -> list[str]:
        if Path(folder) not in (source, source / PROJECTION_FOLDER):
            return []
        return [name for name in names if any(Path(name).match(pattern) for pattern in WEIGHT_PATTERNS)]

    shutil.copytree(source, target, ignore=weights, dirs_exist_ok=True)


def weights_digest(folder: Path) -> str:
    """Return a hash of the weight files of an encoder folder and of its projection.

    Raises:
        InputError: there are none.
    """
    files = sorted({file for pattern in WEIGHT_PATTERNS for file in folder.glob(pattern) if file.is_file()})
    if not files:
        raise InputError(f"{folder}: expected an encoder folder with weights (model.safetensors), found none")
    files += sorted(file for name in (WEIGHTS, PICKLED) for file in folder.glob(f"*_Dense*/{name}"))
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(file.relative_to(folder).as_posix().encode() + hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def files_digest(folder: Path) -> str:
    """Return a hash of the files that decide an embedding beside the weights: configuration, tokenizer, own code."""
    digest = hashlib.sha256()
    for file in sorted({file for pattern in DECIDING_PATTERNS for file in folder.glob(pattern) if file.is_file()}):
        digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
