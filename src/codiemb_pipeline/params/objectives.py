"""What training minimises: keys ``ir``, ``sts`` and ``matryoshka`` of section ``train``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from codiemb_pipeline.params.base import Section


class IRParams(Section):
    """The retrieval objective.

    Attributes:
        loss: ``info_nce``, or ``cosent`` as a baseline.
        temperature: divisor of similarities.
        positives: positives shown per query and step (fewer where a query has fewer).
        hard_negatives: mined negatives shown per query and step.
        cross_device: whether the documents of the other processes serve as negatives too.
        same_slot: a positive meets only the positives in its own slot of other queries, as in the released code;
            otherwise all of them.
        ignore_known: a document whose text is a known positive of the query is ignored wherever it stands; false
            restores the released code, where it counts as a negative.
        false_negative_margin: also ignore documents that score above the query's positive by more than this; ``null``
            for none.
        symmetric: weight of the loss from positives to queries.
        query_query: whether the other queries serve as negatives too.
    """

    loss: Literal["info_nce", "cosent"]
    temperature: float = Field(gt=0.0)
    positives: int = Field(ge=1)
    hard_negatives: int = Field(ge=0)
    cross_device: bool
    same_slot: bool
    ignore_known: bool
    false_negative_margin: float | None = Field(ge=0.0)
    symmetric: float = Field(ge=0.0)
    query_query: bool


class PairInfoNCEParams(Section):
    """InfoNCE between the texts of good pairs.

    Attributes:
        weight: of this part in the objective; 0 turns it off.
        threshold: pairs with gold (on the scale [0, 1]) at or above it count as positives of each other. The released
            code compares with 1.0 on whatever scale a source has.
        temperature: divisor of similarities.
        ignore_copies: other copies of a pair's own texts are no negatives of it; false restores the released code.
    """

    weight: float = Field(ge=0.0)
    threshold: float
    temperature: float = Field(gt=0.0)
    ignore_copies: bool


class MidLayerParams(PairInfoNCEParams):
    """The same on a middle layer.

    Attributes:
        layer: index of the hidden state, 0 being the input embeddings; ``null`` takes half of the layers.
    """

    layer: int | None = Field(ge=0)


class STSParams(Section):
    """The similarity objective: a weighted sum of losses on the order of a batch of pairs.

    Attributes:
        pearson: weight of the Pearson loss.
        rank_kl: weight of RankKL.
        rank_kl_temperature: its temperature.
        rank_kl_divide_by_pairs: whether it is divided by the number of pairs, as in the released code.
        pro: weight of PRO.
        pro_temperature: its temperature.
        mid_layer: the middle-layer part.
        cosent, cosent_temperature: weight and temperature of CoSENT, a baseline.
        cosine: weight of plain regression of the cosine on gold, a baseline.
        info_nce: InfoNCE on the final embeddings, a baseline.
        cross_device: whether the lists are ordered over the pairs of all processes together.
    """

    pearson: float = Field(ge=0.0)
    rank_kl: float = Field(ge=0.0)
    rank_kl_temperature: float = Field(gt=0.0)
    rank_kl_divide_by_pairs: bool
    pro: float = Field(ge=0.0)
    pro_temperature: float = Field(gt=0.0)
    mid_layer: MidLayerParams
    cosent: float = Field(ge=0.0)
    cosent_temperature: float = Field(gt=0.0)
    cosine: float = Field(ge=0.0)
    info_nce: PairInfoNCEParams
    cross_device: bool

    @model_validator(mode="after")
    def _any_part(self) -> Self:
        if not any(self.weights().values()):
            raise ValueError("one part at least must have a weight above 0")
        return self

    def weights(self) -> dict[str, float]:
        """Return the weight of each part by name."""
        plain = {name: getattr(self, name) for name in ("pearson", "rank_kl", "pro", "cosent", "cosine")}
        return {**plain, "info_nce": self.info_nce.weight, "mid_info_nce": self.mid_layer.weight}


class MatryoshkaParams(Section):
    """Embeddings that may be cut short (Matryoshka, arXiv 2205.13147): every loss, of both tasks, at each width too.

    Attributes:
        dimensions: leading numbers kept, then scaled to length one again; beside the full width, which always counts.
        weights: of the loss at each, the full width having 1.
    """

    dimensions: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    weights: tuple[Annotated[float, Field(gt=0.0)], ...]

    @model_validator(mode="after")
    def _same_number(self) -> Self:
        if len(self.dimensions) != len(self.weights):
            raise ValueError(f"{len(self.dimensions)} dimensions need as many weights; found {len(self.weights)}")
        return self
