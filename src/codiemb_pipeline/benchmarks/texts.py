"""The texts of a benchmark, one after another: what a training text must not be. Reads no embedding and no mteb.

Memory is bounded by the ids of the judged documents; texts pass through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from codiemb_pipeline.artifacts.ingest import read_pairs
from codiemb_pipeline.benchmarks.places import place_of
from codiemb_pipeline.benchmarks.tables import PairRows, RetrievalRows, open_rows
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.evaluate import Benchmark, LocalRetrieval, LocalSTS, MtebBenchmark
from codiemb_pipeline.texts import pair_key

ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class BenchmarkText:
    """One query, judged document or pair of a benchmark.

    Attributes:
        kind: ``query``, ``document`` or ``pair``.
        id: of the query or document; of a pair its id, or its row in the data set.
        texts: the text (a document's title and text joined), or the two texts of a pair.
    """

    kind: Literal["query", "document", "pair"]
    id: str
    texts: tuple[str, ...]


def benchmark_texts(name: str, entry: Benchmark, sources: Path) -> Iterator[BenchmarkText]:
    """Yield every query, every document with a positive judgement, and every pair of benchmark ``name``.

    Args:
        name: of the benchmark.
        entry: its definition in params.yaml, ``evaluate.benchmarks``.
        sources: what ``ingest`` wrote, for benchmarks made of a source.

    Raises:
        InputError: the data can't be read; names the benchmark.
    """
    if isinstance(entry, MtebBenchmark):
        yield from _of_mteb(open_rows(place_of(name, entry.path, entry.revision)))
    elif isinstance(entry, LocalRetrieval):
        yield from _of_source(name, entry, sources)
    else:
        pairs = pairs_of(entry, sources)
        for row in pairs.itertuples(index=False):
            yield BenchmarkText("pair", str(row.pair_id), (row.text_a, row.text_b))


def pairs_of(entry: LocalSTS, sources: Path) -> Any:
    """Return the pairs a similarity benchmark of a source scores: its split, less those it leaves out; a table."""
    pairs = read_pairs(sources, entry.source).of_split(entry.split)
    keys = [pair_key(a, b) for a, b in zip(pairs["text_a"], pairs["text_b"], strict=True)]
    known: set[tuple[str, str]] = set()
    for other in entry.without_pairs_of:
        table = read_pairs(sources, other).pairs
        known |= {pair_key(a, b) for a, b in zip(table["text_a"], table["text_b"], strict=True)}
    return pairs[[key not in known for key in keys]].reset_index(drop=True)


def _of_mteb(rows: RetrievalRows | PairRows) -> Iterator[BenchmarkText]:
    if isinstance(rows, PairRows):
        for number, pair in enumerate(rows.texts()):
            yield BenchmarkText("pair", str(number), pair)
        return
    for query, text in rows.judged_queries:
        yield BenchmarkText("query", query, (text,))
    relevant = {document for judged in rows.judgements.values() for document, score in judged.items() if score > 0}
    for document, text in rows.documents():
        if document in relevant:
            yield BenchmarkText("document", document, (text,))


def _of_source(name: str, entry: LocalRetrieval, sources: Path) -> Iterator[BenchmarkText]:
    folder = sources / entry.source
    if not (folder / "queries.parquet").exists():
        raise InputError(
            f"params.yaml: evaluate.benchmarks.{name}: ingest has written no retrieval source {entry.source!r}"
        )
    asked: set[str] = set()
    for query, text, split in _stream(folder / "queries.parquet", "query_id", "text", "split"):
        if split == entry.split:
            asked.add(query)
            yield BenchmarkText("query", query, (text,))
    judged = _stream(folder / "qrels.parquet", "query_id", "doc_id", "relevance")
    relevant = {document for query, document, relevance in judged if query in asked and relevance > 0}
    for document, title, text in _stream(folder / "corpus.parquet", "doc_id", "title", "text"):
        if document in relevant:
            yield BenchmarkText("document", document, (f"{title.strip()} {text.strip()}".strip(),))


def _stream(file: Path, *columns: str) -> Iterator[tuple[Any, ...]]:
    with pq.ParquetFile(file) as opened:
        for block in opened.iter_batches(ROWS_AT_ONCE, columns=list(columns)):
            yield from zip(*(block[column].to_pylist() for column in columns), strict=True)
