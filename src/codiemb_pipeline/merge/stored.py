"""The tensors of one encoder folder, read one at a time from safetensors or PyTorch files of any sharding.

Weights of side modules (``2_Dense/model.safetensors`` of the sentence-transformers layout) are read too, their names
prefixed by the sub-folder. Knows nothing of other folders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open

from codiemb_pipeline.errors import InputError, first_line
from codiemb_pipeline.jsonl import read_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
OLD_WEIGHTS = "pytorch_model.bin"
OLD_INDEX = "pytorch_model.bin.index.json"
MODULES = "modules.json"
ABSENT = "no such tensor"
_FLOATING = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        file: where it lies.
        shape: of it.
        dtype: its element type, ``None`` where it is not floating point.
        read: returns it as stored.
    """

    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype | None
    read: Callable[[], torch.Tensor]


def weight_files(folder: Path) -> list[Path]:
    """Return a folder's weight files: safetensors if there are any, else PyTorch's; an index tells the shards.

    Raises:
        InputError: there are none, or an index names a file that is not there.
    """
    for index, single in ((INDEX, WEIGHTS), (OLD_INDEX, OLD_WEIGHTS)):
        if (folder / index).exists():
            files = [folder / name for name in sorted(set(read_json(folder / index)["weight_map"].values()))]
        elif (folder / single).exists():
            return [folder / single]
        else:
            continue
        for file in files:
            if not file.exists():
                raise InputError(f"{file}: expected the weights that {folder / index} names, found no such file")
        return files
    raise InputError(f"{folder / WEIGHTS}: expected the weights of an encoder, found no such file")


def side_modules(folder: Path) -> list[str]:
    """Return the sub-folders with weights of their own: those ``modules.json`` lists, or any where it is missing."""
    if (folder / MODULES).exists():
        places = {entry.get("path", "") for entry in read_json(folder / MODULES)} - {"", "."}
    else:
        places = {entry.name for entry in folder.iterdir() if entry.is_dir()}
    return sorted(place for place in places if any((folder / place / file).exists() for file in (WEIGHTS, OLD_WEIGHTS)))


class TensorFolder:
    """The tensors of one encoder folder; open it in a ``with`` block.

    Attributes:
        folder: where the weights lie.
        tensors: what is stored, by name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tensors: dict[str, StoredTensor] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            for prefix, place in [("", ""), *((f"{module}/", module) for module in side_modules(self.folder))]:
                for file in weight_files(self.folder / place):
                    for name, stored in self._open(file, opening):
                        self._enter(prefix + name, stored)
            self._stack = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _enter(self, name: str, stored: StoredTensor) -> None:
        if name in self.tensors:
            raise InputError(
                f"{stored.file}: tensor {name!r}: already in {self.tensors[name].file.name}, expected it once"
            )
        self.tensors[name] = stored

    @staticmethod
    def _open(file: Path, stack: ExitStack) -> Iterator[tuple[str, StoredTensor]]:
        return _in_pytorch_file(file) if file.suffix == ".bin" else _in_safetensors(file, stack)

    @property
    def modules(self) -> set[str]:
        """The sub-folders that tensors lie in."""
        return {name.rpartition("/")[0] for name in self.tensors if "/" in name}

    def drop_prefix(self, prefix: str) -> list[str]:
        """Take ``prefix`` off all names; return the names (of the root folder) without it, which are forgotten."""
        without = [name for name in self.tensors if "/" not in name and not name.startswith(prefix)]
        self.tensors = {
            name if "/" in name else name.removeprefix(prefix): stored
            for name, stored in self.tensors.items()
            if name not in without
        }
        return without

    def read(self, name: str) -> torch.Tensor:
        """Return tensor ``name`` as stored."""
        return self.tensors[name].read()

    def describe(self, name: str) -> str:
        """Return what must agree between folders: the shape of tensor ``name`` and whether it is floating point."""
        stored = self.tensors.get(name)
        if stored is None:
            return ABSENT
        return f"shape {list(stored.shape)}" + ("" if stored.dtype else ", not floating point")

    def file_of(self, name: str) -> Path:
        """Return the file that holds tensor ``name``, or the folder when none does."""
        return self.tensors[name].file if name in self.tensors else self.folder


def _in_safetensors(file: Path, stack: ExitStack) -> Iterator[tuple[str, StoredTensor]]:
    try:
        handle = stack.enter_context(safe_open(file, framework="pt"))
    except SafetensorError as error:
        raise InputError(f"{file}: expected a safetensors file, found something else ({error})") from None
    for name in handle.keys():  # noqa: SIM118 - a safetensors handle is no mapping
        about = handle.get_slice(name)
        yield (
            name,
            StoredTensor(file, tuple(about.get_shape()), _FLOATING.get(about.get_dtype()), _reader(handle, name)),
        )


def _reader(handle: Any, name: str) -> Callable[[], torch.Tensor]:
    return lambda: handle.get_tensor(name)


def _in_pytorch_file(file: Path) -> Iterator[tuple[str, StoredTensor]]:
    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise InputError(
            f"{file}: expected a PyTorch file of plain tensors, found something else "
            f"({first_line(error)}); to convert the folder: "
            f"AutoModel.from_pretrained(folder).save_pretrained(folder)"
        ) from None
    for name, tensor in tensors.items():
        dtype = tensor.dtype if tensor.dtype in _FLOATING.values() else None
        yield name, StoredTensor(file, tuple(tensor.shape), dtype, tensor.clone)
