"""The ``assemble`` section: what of each source enters training."""

from typing import Literal, Self

from pydantic import Field, model_validator

from codiemb_pipeline.errors import nearest
from codiemb_pipeline.params.base import Count, CountOrZero, Section, Seed

BenchmarkText = Literal["query", "document", "pair", "sentence"]


class GramParams(Section):
    """Length of the character n-grams by script: a character that writes a syllable or word carries more than a letter.

    All shorter n-grams of syllables count too.
    """

    syllables: int = Field(ge=1, le=3)
    letters: int = Field(ge=1, le=3)


class ThresholdParams(Section):
    """When two texts are near duplicates, by the Jaccard similarity of their n-grams.

    Either it is at least ``highest``; or one text is the other lightly edited (at most ``characters`` characters or one
    word changed), and the similarity is what such an edit leaves of texts of their lengths.

    Attributes:
        lowest: an edit that leaves less of a text is not light.
        word_syllables: most syllables of the word that a light edit changes, where a script has no spaces.
    """

    lowest: float = Field(gt=0, lt=1)
    highest: float = Field(gt=0, lt=1)
    characters: int = Field(ge=1, le=1000)
    word_syllables: int = Field(ge=1, le=1000)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.lowest >= self.highest:
            raise ValueError(f"expected lowest below highest, found {self.lowest} and {self.highest}")
        return self


class AuditParams(Section):
    """The search for benchmark texts among the training texts.

    ``act_on`` names kinds of benchmark texts; all kinds are counted. ``pair`` is both sentences of one pair,
    ``sentence`` one of them. Documents that a source shares with a benchmark made of its own split are never acted on.
    """

    mode: Literal["report", "drop", "fail", "off"]
    act_on: list[BenchmarkText]
    ngram: GramParams
    permutations: int = Field(ge=16, le=4096)
    threshold: ThresholdParams
    recall: float = Field(gt=0, lt=1)
    seed: Seed
    samples: CountOrZero


class AssembleParams(Section):
    """The training mixture. All relevant documents are in a dev corpus, whatever ``dev_documents`` is."""

    seed: Seed
    train_sources: list[str] = Field(min_length=1)
    dev_sources: list[str]
    caps: dict[str, Count]
    max_positives: Count
    max_negatives: CountOrZero
    dev_documents: Count | None
    audit: AuditParams

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
