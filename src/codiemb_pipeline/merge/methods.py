"""The merge methods by name. Each looks at the candidates and returns a rule that merges one tensor.

To add one: write a function ``Material -> Rule`` and enter it in :data:`METHODS` and in ``params/merge.py``. Knows
nothing of how tensors are read or written, nor of what a score measures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from codiemb_pipeline.merge.delta_fusion import Norm, delta_norms, fuse, join_norms, merge_weights
from codiemb_pipeline.merge.layers import layer_of
from codiemb_pipeline.merge.soups import Trial, greedy_soup, soup_weights
from codiemb_pipeline.params.merge import DeltaGuidedParams, MergeMethod, MergeParams

FuseTensor = Callable[[str, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Material:
    """What a method decides by.

    Attributes:
        scores: held-out score of each candidate, in the candidates' order.
        params: the section of params.yaml.
        walk: yields (name, base of shape S, deltas of shape (K, *S)) for every tensor; may be called again.
        score_soup: held-out score of the uniform average of the named candidates.
    """

    scores: Mapping[str, float]
    params: MergeParams
    walk: Callable[[], Iterator[tuple[str, torch.Tensor, torch.Tensor]]]
    score_soup: Callable[[Sequence[str]], float]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How a method merges one tensor, and what its provenance says.

    Attributes:
        fuse_tensor: (name, base, deltas) -> merged tensor and the weight of each candidate (K,), for a tensor that some
            candidate moved.
        description: one sentence, fit for a caption.
        params: the settings that decided.
        norm: in which norm the provenance gives the candidates' moves.
        score: held-out score of the result where it is known already.
        trials: what a search tried, in order.
    """

    fuse_tensor: FuseTensor
    description: str
    params: dict[str, Any] = field(default_factory=dict)
    norm: Norm = "l2"
    score: float | None = None
    trials: tuple[Trial, ...] = ()


def uniform_rule(candidates: Sequence[str], ingredients: Sequence[str]) -> FuseTensor:
    """Return the rule that averages ``ingredients``."""
    weights = soup_weights(candidates, ingredients)
    return lambda name, base, deltas: (fuse(base, deltas, weights), weights)


def uniform(material: Material) -> Rule:
    """Average all candidates."""
    names = list(material.scores)
    return Rule(
        fuse_tensor=uniform_rule(names, names),
        description="Uniform soup: the plain average of all candidate checkpoints.",
    )


def greedy(material: Material) -> Rule:
    """Average those candidates that, tried from best to worst, do not lower the held-out score."""
    soup = greedy_soup(material.scores, material.score_soup)
    return Rule(
        fuse_tensor=uniform_rule(list(material.scores), soup.ingredients),
        description="Greedy soup: checkpoints from best to worst on dev, each kept if the average does not get worse.",
        score=soup.score,
        trials=soup.trials,
    )


def delta_guided(material: Material) -> Rule:
    """Weight each candidate's task vector by how far the part moved from base."""
    params = material.params.delta_guided
    return Rule(
        fuse_tensor=_delta_guided_rule(params, material),
        description=(
            "Our reading of delta-guided fusion (the paper's formula is not public): base plus the candidates' moves "
            f"from it, each weighted per {params.granularity} by its {params.norm} norm ({params.weighting})."
        ),
        params=params.model_dump(),
        norm=params.norm,
    )


def _delta_guided_rule(params: DeltaGuidedParams, material: Material) -> FuseTensor:
    if params.granularity == "element":
        return lambda name, base, deltas: _fuse_elements(base, deltas, params)

    def group_of(name: str) -> str:
        return {"tensor": name, "layer": layer_of(name), "model": ""}[params.granularity]

    # A tensor's own norms are at hand when it is merged; a group's need all its tensors first.
    norms = {} if params.granularity == "tensor" else _group_norms(material, group_of, params.norm)

    def fuse_tensor(name: str, base: torch.Tensor, deltas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        moved = norms[group_of(name)] if norms else delta_norms(deltas, params.norm)
        weights = merge_weights(moved, params.weighting, params.tau)
        return fuse(base, deltas, weights), weights

    return fuse_tensor


def _fuse_elements(
    base: torch.Tensor, deltas: torch.Tensor, params: DeltaGuidedParams
) -> tuple[torch.Tensor, torch.Tensor]:
    weights = merge_weights(deltas.abs(), params.weighting, params.tau)
    moved = (deltas != 0).any(dim=0)
    return fuse(base, deltas, weights), weights[:, moved].double().mean(dim=1)


def _group_norms(material: Material, group_of: Callable[[str], str], norm: Norm) -> dict[str, torch.Tensor]:
    norms: dict[str, torch.Tensor] = {}
    for name, _, deltas in material.walk():
        group, moved = group_of(name), delta_norms(deltas, norm)
        norms[group] = join_norms(norms[group], moved, norm) if group in norms else moved
    return norms


METHODS: dict[MergeMethod, Callable[[Material], Rule]] = {
    "uniform": uniform,
    "greedy": greedy,
    "delta_guided": delta_guided,
}
