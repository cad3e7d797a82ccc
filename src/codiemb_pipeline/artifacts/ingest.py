"""What ``ingest`` hands on: one folder per source, each table a parquet file. Written and read here and nowhere else.

Retrieval: ``queries`` (query_id, text, split), ``corpus`` (doc_id, title, text), ``qrels`` (query_id, doc_id,
relevance) and ``negatives`` (query_id, doc_id; those the source itself names, often none). Similarity: ``pairs``
(pair_id, text_a, text_b, gold, split), gold in [0, 1].
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from codiemb_pipeline.artifacts.base import Artifact, SourceOrigin
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.schema import Split, Task

COLUMNS = {
    "queries": ["query_id", "text", "split"],
    "corpus": ["doc_id", "title", "text"],
    "qrels": ["query_id", "doc_id", "relevance"],
    "negatives": ["query_id", "doc_id"],
    "pairs": ["pair_id", "text_a", "text_b", "gold", "split"],
}
CORPUS_SCHEMA, PAIR_SCHEMA = (
    pa.schema([(column, pa.float64() if column == "gold" else pa.large_string()) for column in COLUMNS[name]])
    for name in ("corpus", "pairs")
)

GROUP_ROWS, GROUP_CHARACTERS = 50_000, 2**24  # a row group ends at the first of the two
BATCH_ROWS = 4096  # rows read at a time


class TableWriter:
    """Streams rows into a parquet file; the same rows give the same bytes, in whatever batches they come.

    Another thread compresses and writes a row group while the next one is gathered.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._file = pq.ParquetWriter(path, schema)
        self._waiting = pl.DataFrame(schema=pl.Schema(schema))
        self._thread = ThreadPoolExecutor(1)
        self._written = self._thread.submit(int)

    def write(self, frame: pl.DataFrame) -> None:
        """Write rows; the columns of the schema must be there."""
        waiting = pl.concat([self._waiting, frame.select(self._waiting.columns)])
        texts = pl.sum_horizontal(pl.col(pl.String).str.len_chars().cast(pl.Int64))
        characters = waiting.select(texts.cum_sum()).to_series().to_numpy()
        start = before = 0
        while start < len(waiting):
            end = min(start + GROUP_ROWS - 1, int(np.searchsorted(characters, before + GROUP_CHARACTERS))) + 1
            if end > len(waiting):
                break
            self._write_next(waiting[start:end])
            start, before = end, characters[end - 1]
        self._waiting = waiting[start:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._file, self._thread:
            if kind is None and len(self._waiting):
                self._write_next(self._waiting)
            if kind is None:
                self._written.result()

    def _write_next(self, group: pl.DataFrame) -> None:
        self._written.result()
        self._written = self._thread.submit(self._write, group)

    def _write(self, group: pl.DataFrame) -> None:
        self._file.write_table(group.to_arrow().cast(self._schema).combine_chunks())


def parquet_batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a parquet file, ``BATCH_ROWS`` at a time; pyarrow's default keeps all that it has read."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        yield from file.iter_batches(BATCH_ROWS, columns=columns)


def keep_rows(path: Path, keep: np.ndarray, gold: Mapping[int, float] | None = None) -> None:
    """Leave only the rows of a parquet file for which ``keep``, bool (rows,), holds; row group by row group.

    ``gold`` has the new gold of some rows; if there are any, others go.
    """
    if keep.all():
        return
    shorter = path.with_suffix(".kept")
    with pq.ParquetFile(path) as file, pq.ParquetWriter(shorter, file.schema_arrow) as writer:
        start = 0
        for number in range(file.num_row_groups):
            group = file.read_row_group(number)
            stays = keep[start : start + len(group)]
            if gold:
                golds = group["gold"].to_numpy()
                golds = [gold.get(start + row, value) for row, value in enumerate(golds)]
                group = group.set_column(group.column_names.index("gold"), "gold", pa.array(golds, pa.float64()))
            start += len(group)
            if stays.any():
                writer.write_table(group.filter(pa.array(stays)))
    shorter.replace(path)


class SourceCounts(Artifact):
    """Counts of one source.

    Attributes:
        splits: queries or pairs by split.
        documents: rows of the corpus; ``None`` for pairs, as ``judgements``, the rows of the qrels.
        rows: rows read; ``rejected`` of them were bad.
        filtered: sound rows that were not kept, by reason.
        unread: files of the source's folder that were not read; without hidden ones, readmes, licences and cards.
        origins: of a registered source.
    """

    task: Task
    splits: dict[Split, int]
    documents: int | None = None
    judgements: int | None = None
    rows: int = 0
    rejected: int = 0
    filtered: dict[str, int] = Field(default_factory=dict)
    unread: tuple[str, ...] = ()
    origins: tuple[SourceOrigin, ...] = ()


class IngestCounts(Artifact):
    """Counts of all sources, by name: the content of ``counts.json``."""

    written_by: ClassVar[str] = "ingest"
    sources: dict[str, SourceCounts]


def origins_of(sources: Path, name: str) -> tuple[SourceOrigin, ...]:
    """Return the repositories that source ``name`` was read from; none where it is not registered."""
    file = sources / "counts.json"
    return IngestCounts.read(file).sources[name].origins if file.exists() else ()


def write_table(table: pd.DataFrame, folder: Path, name: str) -> None:
    """Write the columns of table ``name``, rows in the order given; pandas' own metadata is part of the bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    table[COLUMNS[name]].to_parquet(folder / f"{name}.parquet", index=False)


@dataclass
class RetrievalTables:
    """A retrieval source. All ids are text; ``relevance`` is a whole number, 1 or more; ``title`` may be empty."""

    queries: pd.DataFrame
    corpus: pd.DataFrame
    qrels: pd.DataFrame
    negatives: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write the four tables."""
        for name in ("queries", "corpus", "qrels", "negatives"):
            write_table(getattr(self, name), folder, name)

    def of_split(self, split: str) -> pd.DataFrame:
        """Return the queries of ``split``."""
        return self.queries[self.queries["split"] == split].reset_index(drop=True)

    @property
    def document_ids(self) -> list[str]:
        """The ids of all documents, in the order of the corpus."""
        return self.corpus["doc_id"].tolist()

    def document_texts(self) -> Iterator[str]:
        """Yield the text of every document as it is fed to an encoder: title and text joined by a space."""
        yield from _document_texts(self.corpus)


class StoredRetrieval(RetrievalTables):
    """A retrieval source on disk: tables are read when they are first asked for, document texts a batch at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    queries = cached_property(lambda self: pd.read_parquet(self._folder / "queries.parquet"))
    corpus = cached_property(lambda self: pd.read_parquet(self._folder / "corpus.parquet"))
    qrels = cached_property(lambda self: pd.read_parquet(self._folder / "qrels.parquet"))
    negatives = cached_property(lambda self: pd.read_parquet(self._folder / "negatives.parquet"))

    @property
    def document_ids(self) -> list[str]:  # noqa: D102
        return pd.read_parquet(self._folder / "corpus.parquet", columns=["doc_id"])["doc_id"].tolist()

    def document_texts(self) -> Iterator[str]:  # noqa: D102
        for batch in parquet_batches(self._folder / "corpus.parquet", ["title", "text"]):
            yield from _document_texts(batch.to_pandas())


def _document_texts(corpus: pd.DataFrame) -> pd.Series:
    return (corpus["title"].str.strip() + " " + corpus["text"].str.strip()).str.strip()


@dataclass(frozen=True)
class PairTables:
    """A similarity source. ``gold`` is in [0, 1]."""

    pairs: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write the table."""
        write_table(self.pairs, folder, "pairs")

    def of_split(self, split: str) -> pd.DataFrame:
        """Return the pairs of ``split``."""
        return self.pairs[self.pairs["split"] == split].reset_index(drop=True)


def read_retrieval(sources: Path, name: str) -> StoredRetrieval:
    """Open retrieval source ``name`` from the folder of all sources; InputError where there is no such source."""
    return StoredRetrieval(_folder(sources, name, "ir"))


def read_pairs(sources: Path, name: str) -> PairTables:
    """Read similarity source ``name`` from the folder of all sources; InputError where there is no such source."""
    return PairTables(pd.read_parquet(_folder(sources, name, "sts") / "pairs.parquet"))


def task_of(sources: Path, name: str) -> str:
    """Return the task of source ``name``, by the tables in its folder; InputError where there is no such source."""
    if (sources / name / "pairs.parquet").exists():
        return "sts"
    _folder(sources, name, "ir")
    return "ir"


def _folder(sources: Path, name: str, task: Task) -> Path:
    folder = sources / name
    if not (folder / ("queries.parquet" if task == "ir" else "pairs.parquet")).exists():
        known = sorted(entry.name for entry in sources.iterdir() if entry.is_dir()) if sources.exists() else []
        raise InputError(
            f"source {name!r}: expected a source of task {task!r} at {folder}, found none; ingest has written "
            f"{', '.join(known) or 'nothing'}. Declare it in params.yaml, ingest.sources, and run ingest."
        )
    return folder
