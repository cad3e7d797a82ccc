"""The ``assemble`` section: what of each source enters training."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from codiemb_pipeline.errors import nearest
from codiemb_pipeline.params.base import Section

BenchmarkText = Literal["query", "document", "pair", "sentence"]


class GramParams(Section):
    """Length of the character n-grams by script: a character that writes a syllable or a word says more than a letter.

    Attributes:
        syllables: longest among Han, kana and Hangul; all shorter ones count too.
        letters: wherever another script takes part.
    """

    syllables: int = Field(ge=1, le=3)
    letters: int = Field(ge=1, le=3)


class ThresholdParams(Section):
    """When two texts are near duplicates, by the Jaccard similarity of their n-grams.

    Either it is ``highest`` at least; or one text is the other lightly edited, which means a few characters or one word
    changed, and it is what such an edit leaves of texts of their lengths.

    Attributes:
        lowest: an edit that leaves less of a text is not light.
        highest: similarity from which on two texts are near duplicates whatever differs.
        characters: most characters that a light edit changes, anywhere in the text.
        word_syllables: most syllables of the word that a light edit changes, where a script has no spaces.
    """

    lowest: float = Field(gt=0, lt=1)
    highest: float = Field(gt=0, lt=1)
    characters: int = Field(ge=1)
    word_syllables: int = Field(ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.lowest >= self.highest:
            raise ValueError(f"expected lowest below highest, found {self.lowest} and {self.highest}")
        return self


class AuditParams(Section):
    """The search for benchmark texts among the training texts.

    Attributes:
        mode: ``report`` counts, ``drop`` takes the training texts out, ``fail`` stops, ``off`` does not look.
        act_on: kinds of benchmark texts that ``drop`` and ``fail`` act on; all kinds are counted. ``pair`` is both
            sentences of one pair, ``sentence`` one of them. Documents that a source shares with a benchmark made of
            its own split are never acted on.
        ngram: length of the n-grams.
        permutations: of MinHash; more find and place near duplicates more surely, and cost more.
        threshold: when two texts are near duplicates.
        recall: least share of near duplicates at their threshold that MinHash must find.
        seed: of MinHash.
        samples: most samples shown of each finding, equal and near ones apart.
    """

    mode: Literal["report", "drop", "fail", "off"]
    act_on: list[BenchmarkText]
    ngram: GramParams
    permutations: int = Field(ge=16)
    threshold: ThresholdParams
    recall: float = Field(gt=0, lt=1)
    seed: int
    samples: int = Field(ge=0)


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
        audit: the search for benchmark texts among the training texts.
    """

    seed: int
    train_sources: list[str] = Field(min_length=1)
    dev_sources: list[str]
    caps: dict[str, Annotated[int, Field(ge=1)]]
    max_positives: int = Field(ge=1)
    max_negatives: int = Field(ge=0)
    dev_documents: int | None = Field(ge=1)
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
