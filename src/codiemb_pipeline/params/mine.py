"""The ``mine`` section: which neighbours of a query become its hard negatives."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from codiemb_pipeline.params.base import Section
from codiemb_pipeline.params.launch import Processes


class MineParams(Section):
    """Hard-negative mining, with the encoder of section ``encoder``.

    Attributes:
        seed: of the sampling among the neighbours that qualify.
        negatives_per_query: how many are kept at most. Those a source names itself come first, and need pass no window
            or margin.
        rank_from: first rank that qualifies; 1 is the nearest document that is no positive of the query, nor equal in
            text to one or to the query.
        rank_to: last rank that qualifies.
        absolute_margin: a negative's similarity must be below the best positive's less this; ``null`` for no bound.
        relative_margin: a negative's similarity must be below this share of the best positive's (percent-of-positive,
            as NV-Retriever's TopK-PercPos); ``null`` for no bound. The best of several positives, not the weakest,
            which is often one the encoder fails on; where the positive's similarity is negative, the bound lies
            ``1 - share`` of its size below it.
        block_queries: queries per block of the search.
        block_documents: documents per block of the search; the two bound its memory.
        tokens_per_chunk: padded tokens per forward pass.
        precision: ``fp32`` or ``bf16`` (autocast) of the encoder; cosines are of float32 vectors.
        processes: that encode and search; see ``params.launch``.
        audit_samples: queries shown in the audit.
    """

    seed: int
    negatives_per_query: int = Field(ge=0)
    rank_from: int = Field(ge=1)
    rank_to: int = Field(ge=1)
    absolute_margin: float | None = Field(ge=0.0)
    relative_margin: float | None = Field(gt=0.0)
    block_queries: int = Field(ge=1)
    block_documents: int = Field(ge=1)
    tokens_per_chunk: int = Field(ge=1)
    precision: Literal["fp32", "bf16"]
    processes: Processes
    audit_samples: int = Field(ge=0)

    @model_validator(mode="after")
    def _window(self) -> Self:
        if self.rank_to < self.rank_from:
            raise ValueError("rank_to must not be below rank_from")
        return self
