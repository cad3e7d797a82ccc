"""The ``assemble`` section: what of each source enters training."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from codiemb_pipeline.errors import nearest
from codiemb_pipeline.params.base import Section


class AssembleParams(Section):
    """The training mixture.

    Attributes:
        seed: of the choice under a cap.
        train_sources: names of the sources trained on (their ``train`` split).
        dev_sources: names of the sources dev metrics are taken on (their ``dev`` split).
        caps: most examples of a source, by name of a source trained on; one that is not named has no cap.
        max_positives: most positives kept per query, the most relevant first.
        max_negatives: most hard negatives kept per query, those first that mining put first.
        dev_documents: most documents in a source's dev corpus (all relevant ones are always in); ``null`` for all.
    """

    seed: int
    train_sources: list[str] = Field(min_length=1)
    dev_sources: list[str]
    caps: dict[str, Annotated[int, Field(ge=1)]]
    max_positives: int = Field(ge=1)
    max_negatives: int = Field(ge=0)
    dev_documents: int | None = Field(ge=1)

    @model_validator(mode="after")
    def _known_sources(self) -> Self:
        for field in ("train_sources", "dev_sources"):
            names = getattr(self, field)
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{field}: expected each source once, found {', '.join(twice)} more than once")
        for name in self.caps:
            if name not in self.train_sources:
                raise ValueError(f"caps: {name!r} is not among train_sources{nearest(name, self.train_sources)}")
        return self
