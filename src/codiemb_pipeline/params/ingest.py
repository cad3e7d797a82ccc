"""The ``ingest`` section: the sources and how each is read and split."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from codiemb_pipeline.params.base import Section
from codiemb_pipeline.schema import Task

Reader = Literal["semanlink", "word_pairs", "lee", "beir", "flag_embedding", "pairs"]
Registered = Literal[
    "t2ranking", "dureader", "mmarco_zh", "cmedqa2", "multi_cpr_ecom", "multi_cpr_medical", "multi_cpr_video",
    "bq", "lcqmc", "pawsx", "stsb", "afqmc", "atec", "qbqtc", "cmnli", "ocnli",
]  # fmt: skip
FROM_REGISTRY = ("task", "reader", "score_range", "columns")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class SplitShares(Section):
    """Shares of a source's queries or pairs by split; decided by a hash of the text, so stable when rows are added."""

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


class SourceParams(Section):
    """One data set: described here, or by the registry of training sources (``registered``).

    Attributes:
        registered: name in the registry (``codiemb_pipeline/ingest/registry.py``), from which ``task``, ``reader``,
            ``score_range`` and ``columns`` come; giving them too is an error.
        task: ``ir`` (queries, documents, judgements) or ``sts`` (scored pairs).
        reader: ``semanlink``, ``word_pairs`` (gensim's SimLex-999 and WordSim-353 files), ``lee``, ``beir`` (a folder
            with corpus.jsonl, queries.jsonl, qrels/*.tsv), ``flag_embedding`` (jsonl with query, pos, neg) or
            ``pairs`` (jsonl, csv, tsv, parquet).
        path: a file or folder, or ``package:<name>/<path>``; ``null`` for a registered source: the hub, at the
            revision of the registry.
        splits: shares by split, or ``null`` to keep the splits of the files themselves (``beir`` qrels; for ``pairs`` a
            folder with one file per split; ``flag_embedding``, a format of training data, is all train; a registered
            source its train files, and its dev files where it has some that are no benchmark's).
        score_range: lowest and highest score of the source; gold is rescaled from it to [0, 1]. ``sts`` only.
        columns: column names for ``pairs``; ``null`` elsewhere.
        documents_per_query: fewest and most relevant documents a query may have; others are left out and counted.
            ``ir`` only; ``null`` keeps all.
        limit: how many queries or pairs at most; ``null`` keeps all. Those whose text has the lowest hash stay: the
            same ones in every run, and a smaller limit keeps a part of what a larger one does. The documents of a
            file that holds them beside its queries go with them; a corpus of its own stays whole.
        named_negatives: how many of the negatives the source names for a query are kept, the first of them; ``null``
            keeps all. Each takes some 100 bytes of memory while its source is read. ``ir`` only.
    """

    registered: Registered | None = None
    task: Task | None = None
    reader: Reader | None = None
    path: str | None
    splits: SplitShares | None
    score_range: tuple[float, float] | None = None
    columns: PairColumns | None = None
    documents_per_query: tuple[int, int] | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    named_negatives: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _described_once(self) -> Self:
        if self.registered is not None:
            twice = [field for field in FROM_REGISTRY if getattr(self, field) is not None]
            if twice:
                raise ValueError(f"{', '.join(twice)}: known from the registry ({self.registered}); leave it out")
            return self
        missing = [field for field in ("task", "reader") if getattr(self, field) is None]
        if missing:
            faults = [{"type": "missing", "loc": (field,), "input": None} for field in missing]
            raise ValidationError.from_exception_data(type(self).__name__, faults)
        if self.path is None:
            raise ValueError("path: expected a file or folder; null is for registered sources")
        return self

    @model_validator(mode="after")
    def _fits_reader(self) -> Self:
        if self.registered is not None:
            return self
        retrieval = self.reader in ("semanlink", "beir", "flag_embedding")
        if retrieval != (self.task == "ir"):
            raise ValueError(f"reader {self.reader!r} does not read task {self.task!r}")
        if self.splits is None and self.reader not in ("beir", "flag_embedding", "pairs"):
            raise ValueError(f"splits are needed for reader {self.reader!r}, whose files have none of their own")
        if (self.reader == "pairs") != (self.columns is not None):
            raise ValueError("columns are needed for reader 'pairs' and for no other")
        return self

    @model_validator(mode="after")
    def _fits_task(self) -> Self:
        if self.registered is None and (self.task == "sts") != (self.score_range is not None):
            raise ValueError(
                "score_range is needed for task 'sts' (gold is rescaled from it to [0, 1]) and for no other"
            )
        if self.score_range is not None and not self.score_range[0] < self.score_range[1]:
            raise ValueError("score_range must be [lowest, highest]")
        for field in ("documents_per_query", "named_negatives"):
            if self.task == "sts" and getattr(self, field) is not None:
                raise ValueError(f"{field} is for task 'ir'")
        if self.documents_per_query is not None and not 1 <= self.documents_per_query[0] <= self.documents_per_query[1]:
            raise ValueError("documents_per_query must be [fewest, most], from 1")
        return self


class IngestParams(Section):
    """Reading of sources.

    Attributes:
        seed: enters the hash that decides the splits.
        tolerance: share of a source's rows that may be rejected before the stage fails.
        sources: the data sets by name; the name is the folder and the key everywhere after.
    """

    seed: int
    tolerance: Share
    sources: dict[str, SourceParams] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_of_folders(self) -> Self:
        for name in self.sources:
            if not NAME.fullmatch(name):
                raise ValueError(
                    f"a source's name is that of its folder: letters, digits, and . _ - after the first; not {name!r}"
                )
        return self
