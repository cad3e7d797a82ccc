"""What ``merge`` writes: an encoder folder per recipe with ``provenance.json``, and ``summary.json`` of all of them."""

from typing import Any, ClassVar

from codiemb_pipeline.artifacts.base import Artifact


def merged_name(recipe: str) -> str:
    """Return the name under which the merged encoder of ``recipe`` is evaluated and reported."""
    return f"merged-{recipe}"


class Base(Artifact):
    """The weights that the candidates' moves are measured from."""

    sha256: str


class Candidate(Artifact):
    """A checkpoint that may be merged: ``<run>/<checkpoint>``, its mean dev score and the hash of its weights."""

    name: str
    run: str
    step: int
    dev: float
    sha256: str


class WeightedCandidate(Candidate):
    """A candidate with its mean weight over all moved parameters."""

    weight: float


class Layer(Artifact):
    """Weights and norms of the candidates in one layer.

    Attributes:
        label: its name in plots.
        number: ``None`` outside the stack.
        parameters: their number.
        weights: mean weight by candidate; ``None`` where no tensor moved.
        delta_norms: norm of the move from base by candidate.
    """

    layer: str
    label: str
    number: int | None
    parameters: int
    weights: dict[str, float] | None
    delta_norms: dict[str, float]


class Trial(Artifact):
    """One step of a greedy search: the dev score with ``candidate`` added, and whether it was kept."""

    candidate: str
    dev: float
    kept: bool


class MergeResult(Artifact):
    """One merged encoder.

    Attributes:
        description: one sentence, fit for a caption.
        params: the recipe's settings.
        dev: its mean dev score.
        layers: in the model's order.
        weights_sum_to_one: whether the candidates' weights do; if not, the rest is the base's.
    """

    method: str
    description: str
    params: dict[str, Any]
    dev: float
    layers: list[Layer]
    weights_sum_to_one: bool


class Provenance(MergeResult):
    """How one merged encoder was made.

    Attributes:
        recipe: its name in params.yaml.
        norm: in which norm ``layers`` gives the moves.
        candidates: with their mean weights.
        tensors: weight of each candidate by tensor.
        kept_from_base: tensors that no candidate moved.
        copied: tensors that are not floating point.
        base: what the moves are measured from.
        sha256: hash of the merged weights.
    """

    written_by: ClassVar[str] = "merge"
    recipe: str
    norm: str
    candidates: list[WeightedCandidate]
    tensors: dict[str, dict[str, float]]
    kept_from_base: list[str]
    copied: list[str]
    base: Base
    sha256: str


class MergedModel(MergeResult):
    """The part of ``summary.json`` on one recipe; ``ingredients`` are the candidates with a weight."""

    candidates: list[str]
    ingredients: list[str]
    trials: tuple[Trial, ...] = ()


class BestCheckpoint(Artifact):
    """The candidate with the highest dev score."""

    name: str
    dev: float


class MergeSummary(Artifact):
    """The content of ``summary.json``; ``order`` lists the recipes as in params.yaml."""

    written_by: ClassVar[str] = "merge"
    base: Base
    candidates: list[Candidate]
    best_checkpoint: BestCheckpoint
    order: list[str]
    methods: dict[str, MergedModel]
