"""What training minimises: keys ``ir``, ``sts`` and ``matryoshka`` of section ``train``."""

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Annotated, Any, Literal, Self

from pydantic import Field, create_model, model_validator

from codiemb_pipeline.params.base import Count, CountOrZero, PositiveWeight, Section, Share, Temperature, Weight


class IRParams(Section):
    """The retrieval objective: see ``losses.info_nce`` and ``losses.masks``."""

    loss: Literal["info_nce", "cosent"]
    temperature: Temperature
    positives: Count
    hard_negatives: CountOrZero
    cross_device: bool
    same_slot: bool
    ignore_known: bool
    false_negative_margin: float | None = Field(ge=0.0, le=2.0)
    symmetric: Weight
    query_query: bool


class PartParams(Section):
    """One part of the similarity objective; a weight of 0 turns it off, as leaving it out does."""

    weight: Weight


class ScaledPartParams(PartParams):
    """A part whose similarities are divided by a temperature."""

    temperature: Temperature


class RankKLParams(ScaledPartParams):
    """RankKL, divided by the number of pairs as in the released code or not."""

    divide_by_pairs: bool


class PairInfoNCEParams(ScaledPartParams):
    """InfoNCE between the texts of good pairs.

    Attributes:
        threshold: pairs with gold (on the scale [0, 1]) at or above it count as positives of each other. The released
            code compares with 1.0 on whatever scale a source has.
        ignore_copies: other copies of a pair's own texts are not negatives of it; false restores the released code.
    """

    threshold: Share
    ignore_copies: bool


class MidInfoNCEParams(PairInfoNCEParams):
    """The same on the hidden state ``layer``, 0 being the input embeddings; ``null`` takes half of the layers."""

    layer: int | None = Field(ge=0, le=10_000)


@dataclass(frozen=True)
class STSLoss:
    """A loss that may be part of the similarity objective.

    Attributes:
        params: its settings; all except ``weight`` and ``layer`` are arguments of the function.
        function: ``<module>:<name>`` in ``codiemb_pipeline.losses``.
        operands: its arguments: ``cosines`` (predicted (n,), gold (n,)), ``embeddings`` (a (n, D), b (n, D), gold
            (n,)), or ``good pairs``: see :func:`codiemb_pipeline.losses.pair_info_nce.pair_info_nce_sum`, on the
            final embeddings or, with a ``layer``, on those of that layer.
        label: its name in the report.
    """

    params: type[PartParams]
    function: str
    operands: Literal["cosines", "embeddings", "good pairs"]
    label: str

    def load(self) -> Callable[..., Any]:
        """Return the function."""
        return resolve_name(f"codiemb_pipeline.losses.{self.function}")


STS_LOSSES = {
    "pearson": STSLoss(PartParams, "pearson:pearson", "cosines", "Pearson"),
    "rank_kl": STSLoss(RankKLParams, "rank_kl:rank_kl", "cosines", "RankKL"),
    "pro": STSLoss(ScaledPartParams, "pro:pro", "cosines", "PRO"),
    "mid_info_nce": STSLoss(MidInfoNCEParams, "pair_info_nce:pair_info_nce_sum", "good pairs", "Mid-layer InfoNCE"),
    "cosent": STSLoss(ScaledPartParams, "cosent:cosent", "cosines", "CoSENT"),
    "angle": STSLoss(ScaledPartParams, "angle:angle", "embeddings", "AnglE"),
    "cosine": STSLoss(PartParams, "cosine:cosine_regression", "cosines", "Cosine regression"),
    "info_nce": STSLoss(PairInfoNCEParams, "pair_info_nce:pair_info_nce_sum", "good pairs", "InfoNCE"),
}

STSParts = create_model(
    "STSParts", __base__=Section, **{name: (loss.params | None, None) for name, loss in STS_LOSSES.items()}
)


class STSParams(Section):
    """The similarity objective: a weighted sum of losses on a batch of scored pairs.

    Source: CoDiEmb (arXiv 2508.11442); released as Pearson, RankKL, PRO and mid-layer InfoNCE with weights 2, 5, 0.5, 1
    and temperatures 0.05 (TencentCloudADP/youtu-embedding @9a0d6f3, ``train/model.py``). The others are baselines.
    """

    parts: STSParts
    cross_device: bool

    @model_validator(mode="after")
    def _any_part(self) -> Self:
        if not self.active():
            raise ValueError("one part at least must have a weight above 0")
        return self

    def active(self) -> dict[str, Any]:
        """Return the settings of the losses that are on, by name."""
        parts = {name: getattr(self.parts, name) for name in STS_LOSSES}
        return {name: settings for name, settings in parts.items() if settings and settings.weight > 0}


class MatryoshkaParams(Section):
    """Embeddings that may be cut short (Matryoshka, arXiv 2205.13147): every loss, of both tasks, at each width too.

    The leading ``dimensions`` numbers are scaled to length one again; the full width always counts, with weight 1.
    """

    dimensions: tuple[Annotated[int, Field(ge=1, le=2**16)], ...] = Field(min_length=1)
    weights: tuple[PositiveWeight, ...]

    @model_validator(mode="after")
    def _same_number(self) -> Self:
        if len(self.dimensions) != len(self.weights):
            raise ValueError(f"{len(self.dimensions)} dimensions need as many weights; found {len(self.weights)}")
        if len(set(self.dimensions)) < len(self.dimensions):
            raise ValueError("expected each of the dimensions once")
        return self
