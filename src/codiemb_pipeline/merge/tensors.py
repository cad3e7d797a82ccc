"""Read several encoder folders side by side, tensor by tensor, from safetensors files of any sharding.

Only one tensor of base and of every candidate is in memory at a time. Names and shapes must agree; element types may
differ. Knows nothing of how tensors are merged or what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import reduce
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ABSENT = "no such tensor"
_FLOATING = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of an encoder folder: those its index names, else ``model.safetensors``.

    Raises:
        InputError: neither is there, or the index names a file that is not.
    """
    if (folder / INDEX).exists():
        files = [folder / name for name in sorted(set(read_json(folder / INDEX)["weight_map"].values()))]
    else:
        files = [folder / WEIGHTS]
    for file in files:
        if not file.exists():
            raise InputError(f"{file}: expected the weights of an encoder, found no such file")
    return files


class TensorFolder:
    """The tensors of one encoder folder, read one at a time; open it in a ``with`` block.

    Attributes:
        folder: where the weights lie.
        shapes: shape of every tensor, by name.
        floating: element type of those that are floating point, by name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.floating: dict[str, torch.dtype] = {}
        self._handles: dict[str, Any] = {}
        self._files: dict[str, Path] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for file in weight_files(self.folder):
            try:
                handle = self._stack.enter_context(safe_open(file, framework="pt"))
            except SafetensorError as error:
                raise InputError(f"{file}: expected a safetensors file, found something else ({error})") from None
            for name in handle.keys():  # noqa: SIM118 - a safetensors handle is no mapping
                if name in self._files:
                    raise InputError(f"{file}: tensor {name!r}: already in {self._files[name].name}, expected it once")
                self._files[name], self._handles[name] = file, handle
                stored = handle.get_slice(name)
                self.shapes[name] = tuple(stored.get_shape())
                if stored.get_dtype() in _FLOATING:
                    self.floating[name] = _FLOATING[stored.get_dtype()]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def read(self, name: str) -> torch.Tensor:
        """Return tensor ``name`` as stored."""
        return self._handles[name].get_tensor(name)

    def describe(self, name: str) -> str:
        """Return what must agree between folders: the shape of tensor ``name`` and whether it is floating point."""
        if name not in self.shapes:
            return ABSENT
        return f"shape {list(self.shapes[name])}" + ("" if name in self.floating else ", not floating point")

    def file_of(self, name: str) -> Path:
        """Return the file that holds tensor ``name``, or the folder when none does."""
        return self._files.get(name, self.folder)


class AlignedFolders:
    """Base and its candidates, which hold the same tensors; open it in a ``with`` block.

    Attributes:
        base: the folder of the weights before fine-tuning.
        candidates: the fine-tuned folders, by the candidate's name, in the order given.
        floating: names of the tensors that can be merged, sorted.
        constant: names of those that cannot (integers, booleans), sorted; see :meth:`read_constant`.
    """

    def __init__(self, base: Path, candidates: Mapping[str, Path]) -> None:
        self.base = TensorFolder(base)
        self.candidates = {name: TensorFolder(folder) for name, folder in candidates.items()}
        self.floating: list[str] = []
        self.constant: list[str] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            opening.enter_context(self.base)
            for folder in self.candidates.values():
                opening.enter_context(folder)
            for folder in self.candidates.values():
                self._check(folder)
            constant = sorted(self.base.shapes.keys() - self.base.floating)
            self.floating = sorted(self.base.floating)
            # A buffer (position ids) that old files store and newer ones compute is no part of the merge.
            self.constant = [name for name in constant if all(name in f.shapes for f in self.candidates.values())]
            self._stack = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _check(self, other: TensorFolder) -> None:
        for name in sorted(self.base.shapes | other.shapes):
            expected, found = self.base.describe(name), other.describe(name)
            if found == ABSENT and name not in self.base.floating:
                continue
            if expected != found:
                raise InputError(
                    f"{other.file_of(name)}: tensor {name!r}: expected {expected} as in {self.base.file_of(name)}, "
                    f"found {found}"
                )

    def read(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tensor ``name`` of base, and what each candidate differs from it, both float32.

        Returns:
            base, shape S; deltas, shape (K, *S), candidates in their order.
        """
        base = self.base.read(name).float()
        deltas = torch.empty((len(self.candidates), *base.shape))
        for delta, folder in zip(deltas, self.candidates.values(), strict=True):
            delta.copy_(folder.read(name)).sub_(base)
        return base, deltas

    def dtype(self, name: str) -> torch.dtype:
        """Return the narrowest element type that holds tensor ``name`` of base and every candidate."""
        dtypes = [folder.floating[name] for folder in (self.base, *self.candidates.values())]
        return reduce(torch.promote_types, dtypes)

    def read_constant(self, name: str) -> torch.Tensor:
        """Return a tensor that is not floating point, equal in base and every candidate.

        Raises:
            InputError: it differs somewhere; there is no meaningful average.
        """
        base = self.base.read(name)
        for folder in self.candidates.values():
            if not torch.equal(base, folder.read(name)):
                raise InputError(
                    f"{folder.file_of(name)}: tensor {name!r} of type {base.dtype}: expected the values of "
                    f"{self.base.file_of(name)}, found others; only floating-point tensors can be merged"
                )
        return base
