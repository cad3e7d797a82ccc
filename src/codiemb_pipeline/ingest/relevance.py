"""Queries and their relevant documents, from a reader to tables: repeats merged, splits and limits applied, counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq

from codiemb_pipeline.artifacts.ingest import COLUMNS, SourceCounts, TableWriter, keep_rows, write_table
from codiemb_pipeline.ingest.hashing import SPLIT_TYPE, TextIndex, hashes_of, rows_apart, splits_of, within_limit
from codiemb_pipeline.ingest.sources import SourceFiles
from codiemb_pipeline.ingest.validation import Batch, RejectLog
from codiemb_pipeline.schema import SPLITS
from codiemb_pipeline.texts import text_key

PAIR = ["query", "document"]
QUERY_TYPES = dict.fromkeys(COLUMNS["queries"], pl.String)
PAIR_TYPES = {"query": pl.Int32, "document": pl.Int32, "relevance": pl.Int32}


class Corpus:
    """Documents, written as they come and known by their number: the row in the table. 20 bytes each in memory."""

    def __init__(self, path: Path, table: TableWriter) -> None:
        self.path, self._table = path, table
        self.index = TextIndex()

    def add(self, batch: Batch, name: str, documents: pl.DataFrame) -> None:
        """Write documents (index, doc_id, title, text); reject those whose id, in column ``name``, was there before."""
        self._table.write(batch.distinct(documents, name, "doc_id", self.index))

    def numbers_of_texts(self, texts: pl.Series) -> pl.Series:
        """Return the numbers of documents by their texts; a new text is written as document ``d<number>``.

        Not to be mixed with :meth:`add`: documents of a source are told apart by ids or by texts.
        """
        numbers, is_first = self.index.add(texts)
        new = pl.DataFrame([numbers.alias("number"), texts.alias("text")]).filter(is_first)
        ids = pl.format("d{}", "number").alias("doc_id")
        self._table.write(new.select(ids, pl.lit("").alias("title"), "text"))
        return numbers

    def ids(self, numbers: np.ndarray) -> np.ndarray:
        """Return the ids of documents by their numbers, object (N,), from the finished file."""
        wanted = np.unique(numbers)
        found = np.empty(len(wanted), dtype=object)
        start = 0
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(columns=["doc_id"]):
                first, last = np.searchsorted(wanted, (start, start + len(batch)))
                found[first:last] = batch.column(0).take(wanted[first:last] - start).to_pylist()
                start += len(batch)
        return found[np.searchsorted(wanted, numbers)]


@dataclass
class Relevance:
    """What a reader returns; the documents are on disk by then.

    Attributes:
        queries: query_id, text, split (null where shares decide it).
        qrels: query (row of ``queries``), document (row of the corpus), relevance.
        negatives: query, document: those that the source itself names as not relevant.
        own_corpus: whether the corpus stands by itself; otherwise it is the documents beside the queries.
    """

    queries: pl.DataFrame
    qrels: pl.DataFrame
    negatives: pl.DataFrame = field(default_factory=lambda: joined([], PAIR))
    own_corpus: bool = True


def joined(frames: list[pl.DataFrame], columns: list[str]) -> pl.DataFrame:
    """Return rows of query, document and perhaps relevance, in the narrow types that many of them need."""
    types = {name: PAIR_TYPES[name] for name in columns}
    return pl.concat([pl.DataFrame(schema=types), *(frame.select(columns).cast(types) for frame in frames)])


def write_relevance(
    source: SourceFiles, found: Relevance, corpus: Corpus, seed: int, log: RejectLog, folder: Path
) -> SourceCounts:
    """Write queries, qrels and negatives beside the finished corpus, and return the counts."""
    params = source.params
    keys = [text_key(text) for text in found.queries["text"]]
    hashes = hashes_of(keys, seed, log.source)
    split = found.queries["split"].cast(SPLIT_TYPE) if params.splits is None else splits_of(hashes, params.splits)
    number = pl.int_range(pl.len(), dtype=pl.Int32)
    everything = found.queries.with_columns(split=split, key=pl.Series(keys, dtype=pl.String), query=number)
    # A query that repeats gives its documents to the first of its kind: they would be taken for negatives of it.
    stands_for = everything.select(pl.col("query").first().over("key", "split")).to_series()
    queries = log.narrow("queries that repeat", everything, everything.filter(stands_for == everything["query"]))
    qrels, negatives = (
        table.with_columns(query=stands_for.gather(table["query"])) for table in (found.qrels, found.negatives)
    )
    qrels = log.narrow("judgements that repeat", qrels, qrels.unique(PAIR, keep="first", maintain_order=True))
    sized = queries.join(qrels.group_by("query").len("size"), on="query", maintain_order="left")
    queries = log.narrow("queries without a relevant document", queries, sized)
    if params.documents_per_query is not None:
        fewest, most = params.documents_per_query
        why = f"queries with relevant documents outside {fewest} to {most}"
        queries = log.narrow(why, queries, queries.filter(pl.col("size").is_between(fewest, most)))
    keep, leaked = rows_apart(hashes[queries["query"].to_numpy()], queries["split"])
    log.filter("queries in a later split too", leaked)
    queries = queries.filter(keep)
    if params.limit is not None:
        places = hashes_of(queries["key"], seed, log.source, "limit")[:, 0] / 2**64
        queries = log.narrow("queries over the limit", queries, queries.filter(within_limit(places, params.limit)))
    negatives = negatives.unique(PAIR, keep="first", maintain_order=True)
    others = negatives.join(qrels, on=PAIR, how="anti", maintain_order="left")
    negatives = log.narrow("negatives that are relevant", negatives, others)
    qrels, negatives = (
        table.join(queries, on="query", how="semi", maintain_order="left") for table in (qrels, negatives)
    )
    _write(queries, qrels, negatives, found.queries["query_id"], corpus, folder)
    documents = len(corpus.index)
    if params.limit is not None and not found.own_corpus:
        keep = np.zeros(documents, dtype=bool)
        keep[pl.concat([qrels["document"], negatives["document"]]).to_numpy()] = True
        log.filter("documents of no query within the limit", (~keep).sum())
        keep_rows(corpus.path, keep)
        documents = int(keep.sum())
    splits = dict.fromkeys(SPLITS, 0) | dict(queries["split"].cast(pl.String).value_counts().iter_rows())
    return SourceCounts(task="ir", splits=splits, documents=documents, judgements=len(qrels))


def _write(
    queries: pl.DataFrame,
    qrels: pl.DataFrame,
    negatives: pl.DataFrame,
    query_ids: pl.Series,
    corpus: Corpus,
    folder: Path,
) -> None:
    """Write the three tables beside the corpus, numbers replaced by ids."""
    texts = {name: pd.Series(queries[name].cast(pl.String).to_list(), dtype=str) for name in COLUMNS["queries"]}
    write_table(pd.DataFrame(texts), folder, "queries")
    for name, table in (("qrels", qrels), ("negatives", negatives)):
        ids = {
            "query_id": pd.Series(query_ids.gather(table["query"]).to_list(), dtype=str),
            "doc_id": pd.Series(corpus.ids(table["document"].to_numpy()), dtype=str),
        }
        relevance = {"relevance": table["relevance"].cast(pl.Int64).to_numpy()} if name == "qrels" else {}
        write_table(pd.DataFrame(ids | relevance), folder, name)
