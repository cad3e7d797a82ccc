"""The ``encoder`` section: which encoder, how its token states become one vector, and what is put before a text."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from codiemb_pipeline.params.base import Section

Pooling = Literal["cls", "mean", "last"]


class PromptParams(Section):
    """What is put before a text. An instruction that is empty puts nothing there.

    Attributes:
        template: how an instruction becomes a prefix; holds ``{instruction}`` once.
        document_prefix: put before every document of retrieval.
        in_pooling: whether the prompt's tokens count in the mean; no matter for ``cls`` and ``last``.
        instructions: instruction by name. ``ir`` and ``sts`` are the defaults of the tasks; the name of a source or a
            benchmark overrides its task's. In retrieval the query alone bears it, in similarity both texts do.
    """

    template: str = Field(pattern=r"\{instruction\}")
    document_prefix: str
    in_pooling: bool
    instructions: dict[str, str]


class EncoderParams(Section):
    """The text encoder.

    Attributes:
        path: a folder, ``package:<name>/<folder>``, or the id of a model on the hub.
        revision: commit of a hub model; ``null`` for a folder.
        trust_remote_code: allow the model's own Python code to run.
        pooling: ``cls``, ``mean`` or ``last`` token.
        normalize: scale embeddings to length one.
        max_length: tokens per text at most, prompt and special tokens included.
        prompts: what is put before a text.
    """

    path: str
    revision: str | None
    trust_remote_code: bool
    pooling: Pooling
    normalize: bool
    max_length: int = Field(ge=4)
    prompts: PromptParams
