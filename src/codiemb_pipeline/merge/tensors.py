"""Read base and its candidates side by side, tensor by tensor, in float32 whatever they are stored in.

Only one tensor of base and of every candidate is in memory at a time. Knows nothing of how tensors are merged or what
they mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import reduce
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.merge.align import Alignment, align
from codiemb_pipeline.merge.stored import TensorFolder


class AlignedFolders:
    """Base and its candidates, which hold the same tensors; open it in a ``with`` block.

    Attributes:
        base: the folder of the weights before fine-tuning.
        candidates: the fine-tuned folders, by the candidate's name, in the order given.
        aligned: which tensors are merged, copied and left out.
    """

    def __init__(self, base: Path, candidates: Mapping[str, Path]) -> None:
        self.base = TensorFolder(base)
        self.candidates = {name: TensorFolder(folder) for name, folder in candidates.items()}
        self.aligned = Alignment()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            opening.enter_context(self.base)
            for folder in self.candidates.values():
                opening.enter_context(folder)
            self.aligned = align(self.base, list(self.candidates.values()))
            self._stack = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def read(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tensor ``name`` of base, and what each candidate differs from it, both float32.

        Returns:
            base, shape S; deltas, shape (K, *S), candidates in their order.
        """
        base = self.base.read(self.aligned.base_names.get(name, name)).to(torch.float32)
        deltas = torch.empty((len(self.candidates), *base.shape))
        for delta, folder in zip(deltas, self.candidates.values(), strict=True):
            delta.copy_(folder.read(name)).sub_(base)
        return base, deltas

    def read_candidate(self, name: str, candidate: str) -> torch.Tensor:
        """Return tensor ``name`` of one candidate as stored."""
        return self.candidates[candidate].read(name)

    def dtype(self, name: str) -> torch.dtype:
        """Return the narrowest element type that holds tensor ``name`` of base and every candidate."""
        stored = [folder.tensors[name].dtype for folder in self.candidates.values()]
        stored.append(self.base.tensors[self.aligned.base_names.get(name, name)].dtype)
        return reduce(torch.promote_types, filter(None, stored))

    def read_constant(self, name: str) -> torch.Tensor:
        """Return a tensor that can't be merged, equal in every candidate and in base if that has it.

        Raises:
            InputError: it differs somewhere; there is no meaningful average.
        """
        folders = [folder for folder in (self.base, *self.candidates.values()) if name in folder.tensors]
        first = folders[0].read(name)
        for folder in folders[1:]:
            if not torch.equal(first, folder.read(name)):
                raise InputError(
                    f"{folder.file_of(name)}: tensor {name!r} of type {first.dtype}: expected the values of "
                    f"{folders[0].file_of(name)}, found others; only floating-point tensors can be merged"
                )
        return first
