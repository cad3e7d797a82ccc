"""Base and candidates read side by side, one tensor at a time, in float32 whatever type they are stored in.

All folders come from ``save_encoder``, the base too, so they hold the same tensors. Weights of side modules
(``2_Dense/model.safetensors`` in the layout of sentence-transformers) carry the sub-folder in their names:
``2_Dense/linear.weight``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.progress import ProgressBar

_FLOATING = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in an open file: its shape, and its element type (``None`` where not floating point)."""

    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype | None
    handle: Any
    key: str

    def read(self) -> torch.Tensor:
        """Return it as stored."""
        return self.handle.get_tensor(self.key)

    def __str__(self) -> str:
        return f"shape {list(self.shape)}" + ("" if self.dtype else ", not floating point")


class TensorFolder(dict[str, StoredTensor]):
    """The tensors of one encoder folder, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for file in [*sorted(folder.glob("*.safetensors")), *sorted(folder.glob("*/*.safetensors"))]:
            prefix = "" if file.parent == folder else f"{file.parent.name}/"
            try:
                handle = safe_open(file, framework="pt")
            except SafetensorError as error:
                raise InputError(f"{file}: expected a safetensors file, found something else ({error})") from None
            for key in handle.keys():  # noqa: SIM118 - a safetensors handle is not a mapping
                about = handle.get_slice(key)
                dtype = _FLOATING.get(about.get_dtype())
                self[prefix + key] = StoredTensor(file, tuple(about.get_shape()), dtype, handle, key)
        if not self:
            raise InputError(f"{folder}: expected an encoder folder with weights (model.safetensors), found none")

    def file_of(self, name: str) -> Path:
        """Return the file that holds tensor ``name``, or the folder when none does."""
        return self[name].file if name in self else self.folder


class AlignedTensors:
    """Base and its candidates.

    Attributes:
        floating: names of the tensors that are merged, sorted.
        constant: names of those that are not floating point and so are copied, sorted.
        candidates: names of the candidates, in the order given.

    Raises:
        InputError: a folder has no weights, or another set of tensors than base; names the file and the tensor.
    """

    def __init__(self, base: Path, candidates: Mapping[str, Path]) -> None:
        self._base = TensorFolder(base)
        self._folders = {name: TensorFolder(folder) for name, folder in candidates.items()}
        for folder in self._folders.values():
            self._check_alike(folder)
        self.candidates = list(candidates)
        self.floating = sorted(name for name, tensor in self._base.items() if tensor.dtype)
        self.constant = sorted(name for name, tensor in self._base.items() if not tensor.dtype)

    def _check_alike(self, folder: TensorFolder) -> None:
        for name in sorted(self._base.keys() | folder.keys()):
            expected, found = (str(tensors.get(name, "no such tensor")) for tensors in (self._base, folder))
            if expected != found:
                raise InputError(
                    f"{folder.file_of(name)}: tensor {name!r}: expected {expected} as in {self._base.file_of(name)}, "
                    f"found {found}; all checkpoints must come from one encoder: train the run again"
                )

    def walk(self, progress: str | None = None) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
        """Yield every tensor that can be merged: its name, the base of shape S and the deltas of shape (K, *S)."""
        for name in ProgressBar(self.floating, desc=progress, unit="tensors"):
            yield name, *self.read(name)

    def read(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tensor ``name`` of base, and what each candidate differs from it, both float32.

        Returns:
            base, shape S; deltas, shape (K, *S), candidates in their order.
        """
        base = self._base[name].read().to(torch.float32)
        deltas = torch.empty((len(self._folders), *base.shape))
        for delta, folder in zip(deltas, self._folders.values(), strict=True):
            delta.copy_(folder[name].read()).sub_(base)
        return base, deltas

    def read_candidate(self, name: str, candidate: str) -> torch.Tensor:
        """Return tensor ``name`` of one candidate as stored."""
        return self._folders[candidate][name].read()

    def dtype(self, name: str) -> torch.dtype:
        """Return the narrowest element type that holds tensor ``name`` of base and every candidate."""
        stored = [folder[name].dtype for folder in (self._base, *self._folders.values())]
        return reduce(torch.promote_types, filter(None, stored))

    def read_constant(self, name: str) -> torch.Tensor:
        """Return a tensor that can't be merged, equal in base and every candidate.

        Raises:
            InputError: it differs somewhere; there is no meaningful average.
        """
        first = self._base[name].read()
        for folder in self._folders.values():
            if not torch.equal(first, folder[name].read()):
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
        broken += [f for f, norm in zip(self._folders.values(), norms, strict=True) if not norm.isfinite()]
        if broken:
            raise InputError(
                f"{broken[0].file_of(name)}: tensor {name!r}: expected finite numbers, found NaN or infinity"
            )
