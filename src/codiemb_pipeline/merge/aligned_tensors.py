"""Base and candidates read side by side, one tensor at a time, in float32 whatever type they are stored in.

All folders come from ``save_encoder``, the base too, so they hold the same tensors. Weights of side modules
(``2_Dense/model.safetensors`` in the layout of sentence-transformers) carry the sub-folder in their names:
``2_Dense/linear.weight``.
"""

from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path

import torch

from codiemb_pipeline.encoder.weights import StoredTensor, stored_tensors
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.progress import ProgressBar


class TensorFolder(dict[str, StoredTensor]):
    """The tensors of one encoder folder, by name."""

    def __init__(self, folder: Path) -> None:
        super().__init__(stored_tensors(folder))
        self.folder = folder
        for module in sorted({file.parent for file in folder.glob("*/*.safetensors")}):
            self.update({f"{module.name}/{name}": tensor for name, tensor in stored_tensors(module).items()})

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

        Raises:
            InputError: a number is NaN or infinite; names the file that holds it.
        """
        base = self._base[name].read().to(torch.float32)
        deltas = torch.empty((len(self._folders), *base.shape))
        for delta, folder in zip(deltas, self._folders.values(), strict=True):
            delta.copy_(folder[name].read()).sub_(base)
        for values, folder in zip((base, *deltas), (self._base, *self._folders.values()), strict=True):
            if not values.isfinite().all():
                raise InputError(
                    f"{folder.file_of(name)}: tensor {name!r}: expected finite numbers, found NaN or infinity"
                )
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
