"""The ``mine`` section: which neighbours of a query become its hard negatives."""

from typing import Literal, Self

from pydantic import Field, model_validator

from codiemb_pipeline.params.base import Section
from codiemb_pipeline.params.launch import Processes


class MineParams(Section):
    """Hard-negative mining, with the encoder of section ``encoder``.

    Rank 1 is the nearest document that is neither a positive of the query nor equal in text to one or to the query.
    Negatives that a source names itself come first, and pass no window or margin. Margins are measured from the best
    positive: among dozens, the weakest is often a wrong judgement or one the encoder fails on, and nothing would
    qualify.
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
