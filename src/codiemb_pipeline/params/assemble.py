"""The ``assemble`` section: what of each source enters training."""

from __future__ import annotations

from pydantic import Field

from codiemb_pipeline.params.base import Section


class AssembleParams(Section):
    """The training mixture.

    Attributes:
        seed: of the choice under a cap.
        train_sources: names of the sources trained on (their ``train`` split).
        dev_sources: names of the sources dev metrics are taken on (their ``dev`` split).
        caps: most examples of a source, by name; a source that is not named has no cap.
        max_positives: most positives kept per query.
        max_negatives: most hard negatives kept per query.
        dev_documents: most documents in a source's dev corpus (all relevant ones are always in); ``null`` for all.
    """

    seed: int
    train_sources: list[str] = Field(min_length=1)
    dev_sources: list[str]
    caps: dict[str, int]
    max_positives: int = Field(ge=1)
    max_negatives: int = Field(ge=0)
    dev_documents: int | None = Field(ge=1)
