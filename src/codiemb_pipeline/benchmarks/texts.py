"""The texts of a benchmark, which training texts must not repeat; corpora are streamed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from codiemb_pipeline.artifacts.ingest import read_pairs, read_retrieval
from codiemb_pipeline.benchmarks.tables import PairRows, RetrievalRows, location_of, open_rows
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.evaluate import Benchmark, LocalRetrieval, LocalSTS, MtebBenchmark
from codiemb_pipeline.texts import pair_key


@dataclass(frozen=True)
class BenchmarkText:
    """One query, relevant document or pair of a benchmark.

    Attributes:
        kind: ``query``, ``document`` or ``pair``.
        id: of the query or document; of a pair its id, or its row in the data set.
        texts: the text (a document's title and text joined), or the two texts of a pair.
    """

    kind: Literal["query", "document", "pair"]
    id: str
    texts: tuple[str, ...]


def benchmark_texts(name: str, entry: Benchmark, sources: Path) -> Iterator[BenchmarkText]:
    """Yield every query, every document with a positive relevance, and every pair of benchmark ``name``.

    Args:
        name: of the benchmark.
        entry: its definition in params.yaml, ``evaluate.benchmarks``.
        sources: the output of ``ingest``, for benchmarks made of a source.

    Raises:
        InputError: the data can't be read; names the benchmark.
    """
    if isinstance(entry, MtebBenchmark):
        yield from _of_mteb(open_rows(location_of(name, entry.path, entry.revision)))
        return
    try:
        yield from _of_retrieval(entry, sources) if isinstance(entry, LocalRetrieval) else _of_pairs(entry, sources)
    except InputError as error:
        raise InputError(f"params.yaml: evaluate.benchmarks.{name}: {error}") from error


def pairs_of(entry: LocalSTS, sources: Path) -> pd.DataFrame:
    """Return the pairs that a similarity benchmark of a source scores: its split without the pairs of other sources."""
    pairs = read_pairs(sources, entry.source).of_split(entry.split)
    known = {key for other in entry.without_pairs_of for key in _keys(read_pairs(sources, other).pairs)}
    return pairs[[key not in known for key in _keys(pairs)]].reset_index(drop=True)


def _keys(pairs: pd.DataFrame) -> list[tuple[str, str]]:
    return [pair_key(a, b) for a, b in zip(pairs["text_a"], pairs["text_b"], strict=True)]


def _of_mteb(rows: RetrievalRows | PairRows) -> Iterator[BenchmarkText]:
    if isinstance(rows, PairRows):
        yield from (BenchmarkText("pair", str(index), pair) for index, pair in enumerate(rows.texts()))
        return
    yield from (BenchmarkText("query", query, (text,)) for query, text in rows.scored_queries)
    relevant = {document for scores in rows.qrels.values() for document, score in scores.items() if score > 0}
    yield from (BenchmarkText("document", id, (text,)) for id, text in rows.documents() if id in relevant)


def _of_retrieval(entry: LocalRetrieval, sources: Path) -> Iterator[BenchmarkText]:
    tables = read_retrieval(sources, entry.source)
    queries = tables.of_split(entry.split)
    for query, text in zip(queries["query_id"], queries["text"], strict=True):
        yield BenchmarkText("query", query, (text,))
    relevant = set(tables.qrels["doc_id"][tables.qrels["query_id"].isin(queries["query_id"])])
    documents = zip(tables.document_ids, tables.document_texts(), strict=True)
    yield from (BenchmarkText("document", id, (text,)) for id, text in documents if id in relevant)


def _of_pairs(entry: LocalSTS, sources: Path) -> Iterator[BenchmarkText]:
    for row in pairs_of(entry, sources).itertuples(index=False):
        yield BenchmarkText("pair", str(row.pair_id), (row.text_a, row.text_b))
