"""The ``mine`` section: which neighbours of a query become its hard negatives."""

from typing import Literal, Self

from pydantic import Field, model_validator

from codiemb_pipeline.params.base import Count, CountOrZero, Section, Seed
from codiemb_pipeline.params.launch import Processes


class MineParams(Section):
    """Hard-negative mining, with the encoder of section ``encoder``.

    Rank 1 is the nearest document that is neither a positive of the query nor equal in text to one or to the query.
    Negatives that a source names itself come first, and pass no window or margin. Margins are measured from the best
    positive: among dozens, the weakest is often a wrong judgement or one the encoder fails on, and nothing would
    qualify.
    """

    seed: Seed
    negatives_per_query: CountOrZero
    rank_from: Count
    rank_to: Count
    absolute_margin: float | None = Field(ge=0.0, le=2.0)
    relative_margin: float | None = Field(gt=0.0, le=10.0)
    block_queries: Count
    block_documents: Count
    tokens_per_chunk: Count
    precision: Literal["fp32", "bf16"]
    processes: Processes
    audit_samples: CountOrZero

    @model_validator(mode="after")
    def _window(self) -> Self:
        if self.rank_to < self.rank_from:
            raise ValueError("rank_to must not be below rank_from")
        return self
