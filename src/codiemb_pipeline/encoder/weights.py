"""The weight files of a folder: which ones count, whether they are whole, and their tensors by name.

Backbone, projection and merge read weights here and nowhere else. Code in a pickle is never run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import safe_open

from codiemb_pipeline.errors import InputError, first_line, what_is
from codiemb_pipeline.jsonl import read_object

WEIGHTS, PICKLED = "model.safetensors", "pytorch_model.bin"
_FLOATING = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
AGAIN = "copy or fetch the folder again"
_FOREIGN = {
    "adapter_model.*": "of an adapter alone: merge it into its base model (peft: merge_and_unload) and save that",
    "*.gguf": "in GGUF, which is quantised: get the model's safetensors",
    "tf_model.h5": "of TensorFlow: get the model's safetensors, or convert them",
    "*.ckpt*": "of TensorFlow: get the model's safetensors, or convert them",
    "flax_model.msgpack": "of Flax: get the model's safetensors, or convert them",
    "*.onnx": "of ONNX: get the model's safetensors",
    "onnx/*.onnx": "of ONNX: get the model's safetensors",
}
"""Weights that are not read: a pattern, and what they are."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in an open file: its shape, and its element type (``None`` where not one of merging and training)."""

    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype | None
    handle: Any
    key: str

    def read(self) -> torch.Tensor:
        """Return it as stored."""
        return self.handle[self.key] if isinstance(self.handle, dict) else self.handle.get_tensor(self.key)

    def __str__(self) -> str:
        return f"shape {list(self.shape)}" + ("" if self.dtype else ", not floating point")


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a folder by name; safetensors come before a pickle, one file before shards.

    Raises:
        InputError: there are no weights, or a file is missing, damaged, or holds anything but tensors.
    """
    tensors: dict[str, StoredTensor] = {}
    for file, expected in _files(folder):
        found = {tensor.key: tensor for tensor in (_safetensors if file.suffix == ".safetensors" else _pickled)(file)}
        if missing := sorted(expected - found.keys()):
            raise InputError(f"{file}: expected tensor {missing[0]!r}, as the index says, found none; {AGAIN}")
        if twice := sorted(tensors.keys() & found.keys()):
            raise InputError(f"{file}: tensor {twice[0]!r}: expected it once, found it in {tensors[twice[0]].file} too")
        tensors |= found
    return tensors


def has_weights(folder: Path) -> bool:
    """Return whether a folder holds weight files; one that describes a model does not."""
    return any((folder / f"{name}{end}").is_file() for name in (WEIGHTS, PICKLED) for end in ("", ".index.json"))


def _files(folder: Path) -> Iterator[tuple[Path, set[str]]]:
    """Yield the weight files, and the tensors that the index of shards says are in each."""
    for name in (WEIGHTS, PICKLED):
        if (folder / name).is_file():
            yield folder / name, set()
            return
        if (index := folder / f"{name}.index.json").is_file():
            shards: dict[str, set[str]] = {}
            for tensor, file in _weight_map(index).items():
                shards.setdefault(file, set()).add(tensor)
            yield from ((folder / file, shards[file]) for file in sorted(shards))
            return
    for pattern, what in _FOREIGN.items():
        if found := sorted(folder.glob(pattern)):
            raise InputError(f"{folder}: expected weights ({WEIGHTS}), found {found[0].name}, {what}")
    shards = bool(sorted(folder.glob("model-*.safetensors")))
    found = f"found shards without {WEIGHTS}.index.json" if shards else "found no such file"
    raise InputError(f"{folder / WEIGHTS}: expected weights, {found}; {AGAIN}")


def _weight_map(index: Path) -> dict[str, str]:
    """Return the shard of each tensor."""
    shards = read_object(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise InputError(f"{index}: weight_map: expected a file for each tensor, found {str(shards)[:80]}; {AGAIN}")
    for tensor, file in shards.items():
        # A path could lead anywhere, so that a folder from the hub would read files of this machine.
        if not isinstance(file, str) or Path(file).name != file or not file.endswith((".safetensors", ".bin")):
            raise InputError(f"{index}: weight_map.{tensor}: expected the name of a file beside it, found {file!r}")
        if not (index.parent / file).is_file():
            raise InputError(f"{index.parent / file}: expected the shard of tensor {tensor!r}, found none; {AGAIN}")
    return shards


def _safetensors(file: Path) -> Iterator[StoredTensor]:
    try:
        handle = safe_open(file, framework="pt")
        for key in handle.keys():  # noqa: SIM118 - a safetensors handle is not a mapping
            about = handle.get_slice(key)
            yield StoredTensor(file, tuple(about.get_shape()), _FLOATING.get(about.get_dtype()), handle, key)
    except Exception as error:  # whatever safetensors raises on a damaged file
        raise InputError(
            f"{file}: expected a safetensors file that is whole, found {what_is(file)} ({first_line(error)}); {AGAIN}"
        ) from None


def _pickled(file: Path) -> Iterator[StoredTensor]:
    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True, mmap=is_zipfile(file))
    except Exception:  # whatever torch raises on a damaged file; its words advise to run the code in it
        raise InputError(
            f"{file}: expected a whole pickle of tensors and nothing else, found {what_is(file)}, damaged or with "
            f"code, which is never run; {AGAIN}, or get the model's safetensors"
        ) from None
    whole = isinstance(tensors, dict) and all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in tensors.items()
    )
    if not whole:
        raise InputError(f"{file}: expected tensors by name, found {type(tensors).__name__} of other things")
    for name, tensor in tensors.items():
        yield StoredTensor(
            file, tuple(tensor.shape), tensor.dtype if tensor.dtype in _FLOATING.values() else None, tensors, name
        )
