"""The ``encoder`` section: which encoder, how its token states become one vector, and the prompts of texts."""

from typing import Literal, Self

from pydantic import Field, model_validator

from codiemb_pipeline.params.base import Location, Section, Seed

Pooling = Literal["cls", "mean", "weighted_mean", "last"]
PaddingSide = Literal["right", "left"]
WIDEST = 2**16


class PromptParams(Section):
    """The text before a text. In retrieval only queries get the instruction, in similarity both texts.

    ``instructions`` are by name: ``ir`` and ``sts`` are the defaults of the tasks, the name of a source or a benchmark
    overrides its task's. An empty instruction gives no prompt.
    """

    template: str = Field(pattern=r"\{instruction\}")
    document_prefix: str
    in_pooling: bool
    instructions: dict[str, str]


class ProjectionParams(Section):
    """A linear layer with bias after pooling; ``seed`` draws its first weights unless the base has a ``2_Dense``."""

    dimensions: int = Field(ge=1, le=WIDEST)
    seed: Seed


class EncoderParams(Section):
    """The text encoder: backbone, pooling, projection, the first ``dimensions``, normalisation, in this order."""

    path: Location
    revision: str | None
    trust_remote_code: bool
    bidirectional: bool
    pooling: Pooling
    projection: ProjectionParams | None
    dimensions: int | None = Field(ge=1, le=WIDEST)
    normalize: bool
    max_length: int = Field(ge=4, le=2**20)
    append_eos: bool
    padding_side: PaddingSide
    prompts: PromptParams

    @model_validator(mode="after")
    def _dimensions_exist(self) -> Self:
        if self.projection and self.dimensions and self.dimensions > self.projection.dimensions:
            raise ValueError(
                f"expected dimensions of at most projection.dimensions ({self.projection.dimensions}), "
                f"found {self.dimensions}"
            )
        return self
