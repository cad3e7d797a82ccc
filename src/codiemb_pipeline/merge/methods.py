"""The merge methods by name. Each looks at the candidates and returns a plan that merges one tensor.

To add one, write its settings as a recipe class in ``params/merge.py`` and a function ``MergeInputs -> MergePlan``, and
enter the function in :data:`METHODS`. The formulas are those of :mod:`codiemb_pipeline.merge.delta_fusion`,
:mod:`codiemb_pipeline.merge.soups` and :mod:`codiemb_pipeline.merge.task_vectors`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from codiemb_pipeline.merge.soups import Trial, greedy_soup, soup_weights
from codiemb_pipeline.merge.task_vectors import mean_cosine, slerp_weights, stock_ratio, ties
from codiemb_pipeline.params.merge import DeltaGuidedRecipe, Recipe, SlerpRecipe, TaskArithmeticRecipe, TiesRecipe

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


def fixed_weights(weights: torch.Tensor) -> FuseTensor:
    """Give candidate k the weight ``weights[k]`` in every tensor."""
    return lambda name, base, deltas: (fuse(base, deltas, weights), weights)


def uniform_average(candidates: Sequence[str], ingredients: Sequence[str]) -> FuseTensor:
    """Average ``ingredients`` in every tensor."""
    return fixed_weights(soup_weights(candidates, ingredients))


def uniform(inputs: MergeInputs) -> MergePlan:
    """Average all candidates."""
    names = list(inputs.scores)
    return MergePlan(
        fuse_tensor=uniform_average(names, names),
        description="Uniform soup: the plain average of all candidate checkpoints.",
    )


def greedy(inputs: MergeInputs) -> MergePlan:
    """Average those candidates that, tried from best to worst, do not lower the held-out score."""
    soup = greedy_soup(inputs.scores, inputs.score_soup)
    return MergePlan(
        fuse_tensor=uniform_average(list(inputs.scores), soup.ingredients),
        description="Greedy soup: checkpoints from best to worst on dev, each kept if the average does not get worse.",
        score=soup.score,
        copy_of=soup.ingredients[0] if len(soup.ingredients) == 1 else None,
        trials=soup.trials,
    )


def best(inputs: MergeInputs) -> MergePlan:
    """Take the candidate with the highest held-out score, the first of equals, unchanged."""
    names = list(inputs.scores)
    chosen = max(names, key=inputs.scores.__getitem__)
    return MergePlan(
        fuse_tensor=uniform_average(names, [chosen]),
        description="Best single checkpoint on dev, its weights unchanged.",
        score=inputs.scores[chosen],
        copy_of=chosen,
    )


def task_arithmetic(inputs: MergeInputs) -> MergePlan:
    """Add the scaled sum of the task vectors: theta_0 + scale sum_k delta_k (Ilharco et al. 2023, arXiv 2212.04089)."""
    scale = cast("TaskArithmeticRecipe", inputs.recipe).scale
    return MergePlan(
        fuse_tensor=fixed_weights(torch.full((len(inputs.scores),), scale)),
        description=(
            f"Task arithmetic: base plus {scale:g} times the sum of the candidates' moves from it; "
            "the weights do not sum to one."
        ),
        sums_to_one=False,
    )


def ties_merge(inputs: MergeInputs) -> MergePlan:
    """Trim small moves, elect a sign per element and average the moves of that sign."""
    recipe = cast("TiesRecipe", inputs.recipe)
    return MergePlan(
        fuse_tensor=lambda name, base, deltas: ties(base, deltas, recipe.density, recipe.scale),
        description=(
            f"TIES: base plus {recipe.scale:g} times the mean of the moves that agree in sign, of the largest "
            f"{recipe.density:.0%} of each tensor; the weights do not sum to one."
        ),
        sums_to_one=False,
    )


def slerp(inputs: MergeInputs) -> MergePlan:
    """Interpolate two candidates on the sphere, tensor by tensor."""
    t = cast("SlerpRecipe", inputs.recipe).t
    first, second = inputs.scores

    def fuse_tensor(name: str, base: torch.Tensor, deltas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        one, two = base + deltas[0], base + deltas[1]
        weights = slerp_weights(one, two, t)
        return one.mul_(float(weights[0])).add_(two, alpha=float(weights[1])), weights

    return MergePlan(
        fuse_tensor=fuse_tensor,
        description=(
            f"Spherical interpolation of each tensor, {t:g} of the way from {first} to {second}; "
            "the weights do not sum to one."
        ),
        sums_to_one=False,
    )


def model_stock(inputs: MergeInputs) -> MergePlan:
    """Go from base towards the average of the candidates as far as their moves agree in direction.

    Per tensor theta* = t mean_k theta_k + (1 - t) theta_0, see :func:`codiemb_pipeline.merge.task_vectors.stock_ratio`.
    """
    count = len(inputs.scores)

    def fuse_tensor(name: str, base: torch.Tensor, deltas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        weights = torch.full((count,), stock_ratio(mean_cosine(deltas), count) / count)
        return fuse(base, deltas, weights), weights

    return MergePlan(
        fuse_tensor=fuse_tensor,
        description=(
            "Model Stock: each tensor lies between base and the candidates' average, the nearer to it the smaller the "
            "angle between their moves; the weights do not sum to one, the rest is base's."
        ),
        sums_to_one=False,
    )


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
    """Delta-guided fusion of one set of candidates. With one level all candidates are as of one run.

    At granularity element and tensor a tensor's own moves decide its weights. At layer and model the norms of all its
    tensors are needed first, which takes a pass over them, and with two levels a second one for the fused moves.
    """

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


METHODS: dict[str, Callable[[MergeInputs], MergePlan]] = {
    "uniform": uniform,
    "greedy": greedy,
    "best": best,
    "delta_guided": delta_guided,
    "task_arithmetic": task_arithmetic,
    "ties": ties_merge,
    "slerp": slerp,
    "model_stock": model_stock,
}
