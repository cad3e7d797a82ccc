"""What a merge method is given and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from codiemb_pipeline.merge.delta_fusion import Norm
from codiemb_pipeline.merge.soups import Trial
from codiemb_pipeline.params.merge import Recipe

FuseTensor = Callable[[str, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
Walk = Callable[[], Iterator[tuple[str, torch.Tensor, torch.Tensor]]]


@dataclass(frozen=True, kw_only=True)
class MergeInputs:
    """What a method decides by.

    Attributes:
        recipe: its settings.
        scores: held-out score of each candidate, in the candidates' order.
        runs: the run of each candidate, in the candidates' order.
        walk: yields (name, base of shape S, deltas of shape (K, *S)) for every tensor; may be called again.
        score_soup: held-out score of the uniform average of the named candidates.
    """

    recipe: Recipe
    scores: Mapping[str, float]
    runs: Sequence[str]
    walk: Walk
    score_soup: Callable[[Sequence[str]], float]

    @property
    def members(self) -> list[list[int]]:
        """Indices of the candidates of each run, runs in the order of their first candidate."""
        members: dict[str, list[int]] = {}
        for index, run in enumerate(self.runs):
            members.setdefault(run, []).append(index)
        return list(members.values())


@dataclass(frozen=True, kw_only=True)
class MergePlan:
    """How a method merges one tensor, and what its provenance records.

    Attributes:
        fuse_tensor: (name, base, deltas) -> merged tensor and the weight of each candidate (K,), for a tensor that some
            candidate moved.
        description: one sentence, fit for a caption.
        sums_to_one: whether the candidates' weights do; if not, the rest is base's.
        norm: in which norm the provenance gives the candidates' moves.
        score: held-out score of the result where it is known already.
        copy_of: the candidate whose weights are taken unchanged, bit for bit.
        trials: what a search tried, in order.
    """

    fuse_tensor: FuseTensor
    description: str
    sums_to_one: bool = True
    norm: Norm = "l2"
    score: float | None = None
    copy_of: str | None = None
    trials: tuple[Trial, ...] = ()
