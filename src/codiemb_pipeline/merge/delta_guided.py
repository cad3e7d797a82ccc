"""The method ``delta_guided``: which norms decide a tensor's weights at each granularity and level.

The formulas are those of :mod:`codiemb_pipeline.merge.delta_fusion`. At granularity element and tensor a tensor's own
moves decide; at layer and model the norms of all its tensors are needed first, which takes a pass over them, and with
two levels a second one for the norms of the runs' fused moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch

from codiemb_pipeline.merge.delta_fusion import (
    Norm,
    across_runs,
    delta_norms,
    fuse,
    fuse_elements,
    fuse_runs,
    join_norms,
    merge_weights,
    within_runs,
)
from codiemb_pipeline.merge.layers import layer_of
from codiemb_pipeline.merge.plan import FuseTensor, MergeInputs, MergePlan, Walk
from codiemb_pipeline.params.merge import DeltaGuidedRecipe

Grouping = Callable[[str], str]
_GROUPS: dict[str, Grouping] = {"layer": layer_of, "model": lambda name: ""}


def delta_guided(inputs: MergeInputs) -> MergePlan:
    """Weight each candidate's task vector by how far the part moved from base."""
    recipe = cast("DeltaGuidedRecipe", inputs.recipe)
    fusing = _Fusing(recipe, inputs)
    levels = ", first within each run, then across the runs" if recipe.levels == 2 else ""
    return MergePlan(
        fuse_tensor=fusing.fuse_tensor(),
        description=(
            "Our reading of delta-guided fusion (the paper's formula is not public): base plus the candidates' moves "
            f"from it, each weighted per {recipe.granularity} by its {recipe.norm} norm ({recipe.weighting}){levels}."
        ),
        norm=recipe.norm,
    )


class _Fusing:
    """Delta-guided fusion of one set of candidates. With one level all candidates are as of one run."""

    def __init__(self, recipe: DeltaGuidedRecipe, inputs: MergeInputs) -> None:
        self._recipe, self._walk = recipe, inputs.walk
        self._members = inputs.members if recipe.levels == 2 else [list(range(len(inputs.runs)))]

    def fuse_tensor(self) -> FuseTensor:
        """Return how one tensor is fused."""
        granularity = self._recipe.granularity
        if granularity == "element":
            return lambda name, base, deltas: fuse_elements(base, deltas, self._weigh_elements)
        if granularity == "tensor":
            return self._fuse_tensor
        return self._fuse_by_group(_GROUPS[granularity])

    def _weigh_elements(self, deltas: torch.Tensor) -> torch.Tensor:
        within = self._within(deltas.abs())
        return self._effective(within, fuse_runs(deltas, within, self._members).abs() if self._two else None)

    def _fuse_tensor(self, name: str, base: torch.Tensor, deltas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        within = self._within(delta_norms(deltas, self._recipe.norm))
        weights = self._effective(within, self._run_norms(deltas, within) if self._two else None)
        return fuse(base, deltas, weights), weights

    def _fuse_by_group(self, group_of: Grouping) -> FuseTensor:
        norm = self._recipe.norm
        norms = _group_norms(self._walk, group_of, norm, lambda group, deltas: delta_norms(deltas, norm))
        within = {group: self._within(moved) for group, moved in norms.items()}
        runs: Mapping[str, torch.Tensor | None] = dict.fromkeys(within)
        if self._two:
            runs = _group_norms(
                self._walk, group_of, norm, lambda group, deltas: self._run_norms(deltas, within[group])
            )
        weights = {group: self._effective(within[group], runs[group]) for group in within}

        def fuse_tensor(name: str, base: torch.Tensor, deltas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return fuse(base, deltas, weights[group_of(name)]), weights[group_of(name)]

        return fuse_tensor

    @property
    def _two(self) -> bool:
        return len(self._members) > 1

    def _within(self, norms: torch.Tensor) -> torch.Tensor:
        return within_runs(norms, self._members, self._recipe.weighting, self._recipe.tau)

    def _run_norms(self, deltas: torch.Tensor, within: torch.Tensor) -> torch.Tensor:
        # Run by run: no more than one fused move is held at a time.
        moves = (fuse_runs(deltas, within, [places]) for places in self._members)
        return torch.cat([delta_norms(move, self._recipe.norm) for move in moves])

    def _effective(self, within: torch.Tensor, run_norms: torch.Tensor | None) -> torch.Tensor:
        if run_norms is None:
            return within
        across = merge_weights(run_norms, self._recipe.weighting, self._recipe.tau)
        return across_runs(within, across.to(within.dtype), self._members)


def _group_norms(
    walk: Walk, group_of: Grouping, norm: Norm, measure: Callable[[str, torch.Tensor], torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the norms (K,) or (R,) of each group; ``measure`` gives those of one tensor of a group."""
    norms: dict[str, torch.Tensor] = {}
    for name, _, deltas in walk():
        group = group_of(name)
        moved = measure(group, deltas)
        norms[group] = join_norms(norms[group], moved, norm) if group in norms else moved
    return norms
