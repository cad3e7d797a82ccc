"""The ``ingest`` section: the sources and how each is read and split."""

import math
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Discriminator, Field, StrictFloat, StrictInt, Tag, field_validator, model_validator

from codiemb_pipeline.params.base import DISTINCT, MOST, Count, CountOrZero, FileName, Location, Section, Seed, Share
from codiemb_pipeline.schema import Task

RegisteredRetrieval = Literal[
    "t2ranking", "dureader", "mmarco_zh", "cmedqa2", "multi_cpr_ecom", "multi_cpr_medical", "multi_cpr_video"
]  # fmt: skip
RegisteredSimilarity = Literal["bq", "lcqmc", "pawsx", "stsb", "afqmc", "atec", "qbqtc", "cmnli", "ocnli"]
RegisteredName = Literal[RegisteredRetrieval, RegisteredSimilarity]
FROM_REGISTRY = ("task", "reader", "score_range", "columns")
SourceName = Annotated[FileName, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]


class SplitShares(Section):
    """Shares of a source's queries or pairs by split."""

    train: Share
    dev: Share
    test: Share

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        if not math.isclose(self.train + self.dev + self.test, 1.0, abs_tol=1e-9):
            raise ValueError("train, dev and test must sum to 1")
        return self


class PairColumns(Section):
    """Names of the columns of a file of scored pairs."""

    text_a: str
    text_b: str
    score: str


class _SourceBase(Section):
    """What every source declares.

    ``limit`` is the largest number of queries or pairs. Those whose text has the lowest hash stay: the same ones in
    every run, and a smaller limit keeps a subset of what a larger one keeps. Documents that stand beside their queries
    in a file are removed with them; a separate corpus is kept whole.
    """

    registered: None = None
    path: Location
    splits: SplitShares
    limit: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, values: Any) -> Any:
        """Accept ``null`` for a key that only other readers have."""
        if isinstance(values, dict):
            return {key: value for key, value in values.items() if value is not None or key in cls.model_fields}
        return values


class _Retrieval(_SourceBase):
    """A retrieval source.

    ``documents_per_query`` is the fewest and the most relevant documents of a query that is kept, ``named_negatives``
    how many of the negatives that the source names for a query are kept, in file order.
    """

    task: Literal["ir"]
    documents_per_query: Annotated[tuple[StrictInt, StrictInt], Field(strict=False)] | None = None
    named_negatives: CountOrZero | None = None

    @field_validator("documents_per_query")
    @classmethod
    def _ordered(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and not 1 <= value[0] <= value[1] <= MOST:
            raise ValueError("documents_per_query must be [fewest, most], from 1")
        return value


class _Similarity(_SourceBase):
    """A source of scored pairs."""

    task: Literal["sts"]
    score_range: Annotated[tuple[StrictFloat, StrictFloat], Field(strict=False)]

    @field_validator("score_range")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not -1e9 <= value[0] < value[1] <= 1e9 or value[1] - value[0] < 1e-6:
            raise ValueError("score_range must be [lowest, highest]")
        return value


class SemanlinkSource(_Retrieval):
    """Semanlink's bookmarks (``docs.json`` and ``tags.json``)."""

    reader: Literal["semanlink"]


class BeirSource(_Retrieval):
    """A folder in BEIR's layout; with ``splits: null`` the qrels files give the splits."""

    reader: Literal["beir"]
    splits: SplitShares | None


class FlagEmbeddingSource(_Retrieval):
    """A jsonl as FlagEmbedding trains on; with ``splits: null`` all queries are train."""

    reader: Literal["flag_embedding"]
    splits: SplitShares | None


class WordPairsSource(_Similarity):
    """gensim's word lists: tab-separated, with ``#`` comments."""

    reader: Literal["word_pairs"]


class LeeSource(_Similarity):
    """Lee, Pincombe and Welsh's documents and similarity matrix, as gensim ships them."""

    reader: Literal["lee"]


class PairsSource(_Similarity):
    """Scored pairs in jsonl, csv, tsv or parquet; with ``splits: null`` a folder with one file per split."""

    reader: Literal["pairs"]
    splits: SplitShares | None
    columns: PairColumns


class RegisteredSource(_Retrieval):
    """A source whose task, columns and scores the registry (``codiemb_pipeline/ingest/registry.yaml``) describes.

    ``path: null`` fetches its files from where the registry says; ``splits: null`` keeps its dev files. ``revision``
    takes the place of the registry's: a commit, a branch or a tag, for a source of several repositories one for each
    by its id. Beside a ``path`` it is the commit that the files are known to be a copy of.
    """

    registered: RegisteredName
    revision: str | dict[str, str] | None = None
    reader: Literal["registry"] = "registry"
    task: Task = "ir"
    path: Location | None
    splits: SplitShares | None

    @model_validator(mode="before")
    @classmethod
    def _described_once(cls, values: Any) -> Any:
        twice = [key for key in FROM_REGISTRY if values.get(key) is not None]
        if twice:
            raise ValueError(f"{', '.join(twice)}: the registry describes {values['registered']!r}; remove the key")
        similarity = values["registered"] in get_args(RegisteredSimilarity)
        for key in ("documents_per_query", "named_negatives"):
            if similarity and values.get(key) is not None:
                raise ValueError(f"{key} is for task 'ir'; {values['registered']!r} is a source of pairs")
        own = {key: value for key, value in values.items() if key not in FROM_REGISTRY}
        return own | {"task": "sts" if similarity else "ir"}


def reader(values: Any) -> str | None:
    """Return the kind of a source: its reader, or ``registry`` for a registered source."""
    if not isinstance(values, dict):
        return getattr(values, "reader", None)
    return "registry" if values.get("registered") is not None else values.get("reader")


SourceParams = Annotated[
    Annotated[SemanlinkSource, Tag("semanlink")]
    | Annotated[BeirSource, Tag("beir")]
    | Annotated[FlagEmbeddingSource, Tag("flag_embedding")]
    | Annotated[WordPairsSource, Tag("word_pairs")]
    | Annotated[LeeSource, Tag("lee")]
    | Annotated[PairsSource, Tag("pairs")]
    | Annotated[RegisteredSource, Tag("registry")],
    Discriminator(reader),
]


class IngestParams(Section):
    """Reading of sources. The name of a source is its folder, and its key in every later stage."""

    seed: Seed
    tolerance: Share
    sources: Annotated[dict[SourceName, SourceParams], DISTINCT] = Field(min_length=1)
