"""The ``encoder`` section: which encoder, how its token states become one vector, and what is put before a text."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from codiemb_pipeline.params.base import Section

Pooling = Literal["cls", "mean", "weighted_mean", "last"]
PaddingSide = Literal["right", "left"]


class PromptParams(Section):
    """What is put before a text. An instruction that is empty puts nothing there.

    Attributes:
        template: how an instruction becomes a prefix; holds ``{instruction}`` once.
        document_prefix: put before every document of retrieval.
        in_pooling: whether the prompt's tokens count in ``mean`` and ``weighted_mean``; no matter for ``cls`` and
            ``last``.
        instructions: instruction by name. ``ir`` and ``sts`` are the defaults of the tasks; the name of a source or a
            benchmark overrides its task's. In retrieval the query alone bears it, in similarity both texts do.
    """

    template: str = Field(pattern=r"\{instruction\}")
    document_prefix: str
    in_pooling: bool
    instructions: dict[str, str]


class ProjectionParams(Section):
    """A linear layer with bias after pooling.

    Attributes:
        dimensions: numbers of its output.
        seed: of its first weights, which the base encoder has too; a base folder with a ``2_Dense`` keeps its own.
    """

    dimensions: int = Field(ge=1)
    seed: int


class EncoderParams(Section):
    """The text encoder. What an embedding is: backbone, pooling, projection, the first ``dimensions``, normalisation.

    Attributes:
        path: a folder, ``package:<name>/<folder>``, or the id of a model on the hub.
        revision: commit of a hub model; ``null`` for a folder.
        trust_remote_code: allow the model's own Python code to run.
        bidirectional: make a decoder's tokens attend both ways; tested when the encoder is loaded. ``false`` leaves
            attention as the backbone has it.
        pooling: ``cls`` (first token), ``mean``, ``weighted_mean`` (the later the heavier) or ``last`` token.
        projection: a linear layer after pooling; ``null`` for none.
        dimensions: how many of the first numbers mining, evaluation and export keep (Matryoshka); ``null`` for all.
            Training sees all.
        normalize: scale embeddings to length one.
        max_length: tokens per text at most, prompt and special tokens included.
        append_eos: end every text with the end-of-sequence token, also one that was cut.
        padding_side: ``right`` or ``left``; no vector depends on it.
        prompts: what is put before a text.
    """

    path: str
    revision: str | None
    trust_remote_code: bool
    bidirectional: bool
    pooling: Pooling
    projection: ProjectionParams | None
    dimensions: int | None = Field(ge=1)
    normalize: bool
    max_length: int = Field(ge=4)
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
