"""What ``ingest`` hands on: one folder per source, each table a parquet file. Written and read here and nowhere else.

Retrieval: ``queries`` (query_id, text, split), ``corpus`` (doc_id, title, text), ``qrels`` (query_id, doc_id,
relevance) and ``negatives`` (query_id, doc_id; those the source itself names, often none). Similarity: ``pairs``
(pair_id, text_a, text_b, gold, split), gold in [0, 1]. Knows nothing of where the rows came from.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from codiemb_pipeline.errors import InputError

QUERY_COLUMNS = ["query_id", "text", "split"]
CORPUS_COLUMNS = ["doc_id", "title", "text"]
QRELS_COLUMNS = ["query_id", "doc_id", "relevance"]
NEGATIVES_COLUMNS = ["query_id", "doc_id"]
PAIR_COLUMNS = ["pair_id", "text_a", "text_b", "gold", "split"]


@dataclass(frozen=True)
class RetrievalTables:
    """A retrieval source. All ids are text; ``relevance`` is a whole number, 1 or more; ``title`` may be empty."""

    queries: pd.DataFrame
    corpus: pd.DataFrame
    qrels: pd.DataFrame
    negatives: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write the four tables, rows in the order given."""
        folder.mkdir(parents=True, exist_ok=True)
        self.queries[QUERY_COLUMNS].to_parquet(folder / "queries.parquet", index=False)
        self.corpus[CORPUS_COLUMNS].to_parquet(folder / "corpus.parquet", index=False)
        self.qrels[QRELS_COLUMNS].to_parquet(folder / "qrels.parquet", index=False)
        self.negatives[NEGATIVES_COLUMNS].to_parquet(folder / "negatives.parquet", index=False)

    def of_split(self, split: str) -> pd.DataFrame:
        """Return the queries of ``split``."""
        return self.queries[self.queries["split"] == split].reset_index(drop=True)

    def document_texts(self) -> pd.Series:
        """Return the text of every document as it is fed to an encoder: title and text joined by a space."""
        return (self.corpus["title"].str.strip() + " " + self.corpus["text"].str.strip()).str.strip()


@dataclass(frozen=True)
class PairTables:
    """A similarity source. ``gold`` is in [0, 1]."""

    pairs: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write the table, rows in the order given."""
        folder.mkdir(parents=True, exist_ok=True)
        self.pairs[PAIR_COLUMNS].to_parquet(folder / "pairs.parquet", index=False)

    def of_split(self, split: str) -> pd.DataFrame:
        """Return the pairs of ``split``."""
        return self.pairs[self.pairs["split"] == split].reset_index(drop=True)


def read_retrieval(sources: Path, name: str) -> RetrievalTables:
    """Read retrieval source ``name`` from the folder of all sources.

    Raises:
        InputError: ``ingest`` has written no such retrieval source.
    """
    folder = _folder(sources, name, "queries.parquet", "ir")
    tables = ("queries", "corpus", "qrels", "negatives")
    return RetrievalTables(*(pd.read_parquet(folder / f"{table}.parquet") for table in tables))


def read_pairs(sources: Path, name: str) -> PairTables:
    """Read similarity source ``name`` from the folder of all sources.

    Raises:
        InputError: ``ingest`` has written no such similarity source.
    """
    return PairTables(pd.read_parquet(_folder(sources, name, "pairs.parquet", "sts") / "pairs.parquet"))


def task_of(sources: Path, name: str) -> str:
    """Return ``ir`` or ``sts`` for source ``name``, by the tables in its folder.

    Raises:
        InputError: ``ingest`` has written no such source.
    """
    if (sources / name / "pairs.parquet").exists():
        return "sts"
    _folder(sources, name, "queries.parquet", "ir")
    return "ir"


def _folder(sources: Path, name: str, table: str, task: str) -> Path:
    folder = sources / name
    if not (folder / table).exists():
        known = sorted(entry.name for entry in sources.iterdir() if entry.is_dir()) if sources.exists() else []
        raise InputError(
            f"source {name!r}: expected a source of task {task!r} at {folder}, found none; ingest has written "
            f"{', '.join(known) or 'nothing'}. Declare it in params.yaml, ingest.sources, and run ingest."
        )
    return folder
