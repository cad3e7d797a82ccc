"""The merge methods by name. Each looks at the candidates and returns a plan that merges one tensor.

To add one, write its settings as a recipe class in ``params/merge.py`` and a function ``MergeInputs -> MergePlan``, and
enter the function in :data:`METHODS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch

from codiemb_pipeline.merge.delta_fusion import fuse
from codiemb_pipeline.merge.delta_guided import delta_guided
from codiemb_pipeline.merge.plan import FuseTensor, MergeInputs, MergePlan
from codiemb_pipeline.merge.soups import greedy_soup, soup_weights
from codiemb_pipeline.merge.task_vectors import mean_cosine, slerp_weights, stock_ratio, ties
from codiemb_pipeline.params.merge import SlerpRecipe, TaskArithmeticRecipe, TiesRecipe


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
