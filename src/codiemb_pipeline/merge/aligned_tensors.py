"""Base and candidates read side by side, tensor by tensor, in float32 whatever type they are stored in.

Only one tensor of base and of every candidate is in memory at a time. All folders come from ``save_encoder``, the base
too, so they hold the same tensors. Weights of side modules (``2_Dense/model.safetensors`` in the layout of
sentence-transformers) carry the sub-folder in their names: ``2_Dense/linear.weight``.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open

from codiemb_pipeline.errors import InputError

_FLOATING = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file: its shape, its element type (``None`` where not floating point), and how to read it."""

    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype | None
    handle: Any
    key: str

    def read(self) -> torch.Tensor:
        """Return it as stored."""
        return self.handle.get_tensor(self.key)

    def describe(self) -> str:
        """Return what must agree between folders."""
        return f"shape {list(self.shape)}" + ("" if self.dtype else ", not floating point")


class TensorFolder:
    """The tensors of one encoder folder, by name."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.tensors: dict[str, StoredTensor] = {}
        for file in [*sorted(folder.glob("*.safetensors")), *sorted(folder.glob("*/*.safetensors"))]:
            prefix = "" if file.parent == folder else f"{file.parent.name}/"
            try:
                handle = stack.enter_context(safe_open(file, framework="pt"))
            except SafetensorError as error:
                raise InputError(f"{file}: expected a safetensors file, found something else ({error})") from None
            for key in handle.keys():  # noqa: SIM118 - a safetensors handle is not a mapping
                about = handle.get_slice(key)
                dtype = _FLOATING.get(about.get_dtype())
                self.tensors[prefix + key] = StoredTensor(file, tuple(about.get_shape()), dtype, handle, key)
        if not self.tensors:
            raise InputError(f"{folder}: expected an encoder folder with weights (model.safetensors), found none")

    def describe(self, name: str) -> str:
        """Return shape and kind of tensor ``name``, or that there is none."""
        return self.tensors[name].describe() if name in self.tensors else "no such tensor"

    def file_of(self, name: str) -> Path:
        """Return the file that holds tensor ``name``, or the folder when none does."""
        return self.tensors[name].file if name in self.tensors else self.folder


class AlignedTensors:
    """Base and its candidates; open it in a ``with`` block.

    Attributes:
        floating: names of the tensors that are merged, sorted.
        constant: names of those that are not floating point and so are copied, sorted.
        candidates: names of the candidates, in the order given.
    """

    def __init__(self, base: Path, candidates: Mapping[str, Path]) -> None:
        self._base_folder, self._folders = base, dict(candidates)
        self.candidates = list(candidates)
        self.floating: list[str] = []
        self.constant: list[str] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Open all folders.

        Raises:
            InputError: a folder has no weights, or another set of tensors than base; names the file and the tensor.
        """
        with ExitStack() as opening:
            self._base = TensorFolder(self._base_folder, opening)
            self._opened = {name: TensorFolder(folder, opening) for name, folder in self._folders.items()}
            for folder in self._opened.values():
                self._check_alike(folder)
            self._stack = opening.pop_all()
        for name in sorted(self._base.tensors):
            (self.constant if self._base.tensors[name].dtype is None else self.floating).append(name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _check_alike(self, folder: TensorFolder) -> None:
        for name in sorted(self._base.tensors.keys() | folder.tensors.keys()):
            expected, found = self._base.describe(name), folder.describe(name)
            if expected != found:
                raise InputError(
                    f"{folder.file_of(name)}: tensor {name!r}: expected {expected} as in {self._base.file_of(name)}, "
                    f"found {found}; all checkpoints must come from one encoder: train the run again"
                )

    def read(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tensor ``name`` of base, and what each candidate differs from it, both float32.

        Returns:
            base, shape S; deltas, shape (K, *S), candidates in their order.
        """
        base = self._base.tensors[name].read().to(torch.float32)
        deltas = torch.empty((len(self._opened), *base.shape))
        for delta, folder in zip(deltas, self._opened.values(), strict=True):
            delta.copy_(folder.tensors[name].read()).sub_(base)
        return base, deltas

    def read_candidate(self, name: str, candidate: str) -> torch.Tensor:
        """Return tensor ``name`` of one candidate as stored."""
        return self._opened[candidate].tensors[name].read()

    def dtype(self, name: str) -> torch.dtype:
        """Return the narrowest element type that holds tensor ``name`` of base and every candidate."""
        stored = [folder.tensors[name].dtype for folder in (self._base, *self._opened.values())]
        return reduce(torch.promote_types, filter(None, stored))

    def read_constant(self, name: str) -> torch.Tensor:
        """Return a tensor that can't be merged, equal in base and every candidate.

        Raises:
            InputError: it differs somewhere; there is no meaningful average.
        """
        first = self._base.tensors[name].read()
        for folder in self._opened.values():
            if not torch.equal(first, folder.tensors[name].read()):
                raise InputError(
                    f"{folder.file_of(name)}: tensor {name!r} of type {first.dtype}: expected the values of "
                    f"{self._base.file_of(name)}, found others; only floating-point tensors can be merged"
                )
        return first

    def check_finite(self, name: str, base: torch.Tensor, norms: torch.Tensor) -> None:
        """Check base's numbers and the norms (K,) of the candidates' moves.

        Raises:
            InputError: one is NaN or infinite; names the file that holds it.
        """
        broken = [] if base.isfinite().all() else [self._base]
        broken += [f for f, norm in zip(self._opened.values(), norms, strict=True) if not norm.isfinite()]
        if broken:
            raise InputError(
                f"{broken[0].file_of(name)}: tensor {name!r}: expected finite numbers, found NaN or infinity"
            )
