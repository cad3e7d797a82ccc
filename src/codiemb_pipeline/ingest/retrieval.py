"""Readers of retrieval sources: queries, documents and judgements, whatever the layout they come in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.files import read_rows
from codiemb_pipeline.ingest.rows import BadRowError, Ledger, id_of, number_of, shown, text_of, texts_of
from codiemb_pipeline.ingest.semanlink import read_semanlink
from codiemb_pipeline.ingest.splits import keep_apart, split_of
from codiemb_pipeline.params.ingest import SourceParams
from codiemb_pipeline.schema import SPLITS
from codiemb_pipeline.source_tables import (
    CORPUS_COLUMNS,
    NEGATIVES_COLUMNS,
    QRELS_COLUMNS,
    QUERY_COLUMNS,
    RetrievalTables,
)
from codiemb_pipeline.texts import text_key

FILE_OF = {"query-id": "queries.jsonl", "corpus-id": "corpus.jsonl"}
HIGHEST_RELEVANCE = 1_000_000

Rows = dict[str, list[tuple[Any, ...]]]


def read_retrieval_source(params: SourceParams, path: Path, seed: int, ledger: Ledger) -> RetrievalTables:
    """Read a retrieval source.

    Args:
        params: of the source.
        path: its file or folder.
        seed: enters the splits.
        ledger: takes bad rows and counts.

    Raises:
        InputError: a file as a whole can't be used.
    """
    reader = {"semanlink": _semanlink, "beir": _beir, "flag_embedding": _flag_embedding}[params.reader]
    rows = reader(params, path, ledger)
    queries = pd.DataFrame(rows["queries"], columns=QUERY_COLUMNS)
    if params.splits is not None:
        keys = queries["text"].map(text_key)
        queries["split"] = [split_of(key, params.splits, seed=seed, source=ledger.source) for key in keys]
    queries, alias = _merge_repeats(queries, ledger)
    qrels = _renamed(rows["qrels"], QRELS_COLUMNS, alias)
    repeated = qrels.duplicated(["query_id", "doc_id"])
    ledger.leave_out("judgements that repeat", int(repeated.sum()))
    qrels = qrels[~repeated]
    queries = _of_wanted_size(queries, qrels, params, ledger)
    queries = keep_apart(queries, queries["text"].map(text_key), ledger, "queries")
    known = set(queries["query_id"])
    negatives = _unjudged(_renamed(rows.get("negatives", []), NEGATIVES_COLUMNS, alias), qrels, ledger)
    return RetrievalTables(
        queries=queries,
        corpus=pd.DataFrame(rows["corpus"], columns=CORPUS_COLUMNS),
        qrels=qrels[qrels["query_id"].isin(known)].reset_index(drop=True),
        negatives=negatives[negatives["query_id"].isin(known)].reset_index(drop=True),
    )


def _merge_repeats(queries: pd.DataFrame, ledger: Ledger) -> tuple[pd.DataFrame, dict[str, str]]:
    """Keep the first of the queries with one text in one split.

    Returns:
        The queries that stay, and for every query the id of the one that stands for it: without it the documents of
        the repeat would be taken for negatives of the query.
    """
    firsts: dict[tuple[str, str | None], str] = {}
    alias = {
        query_id: firsts.setdefault((text_key(text), split), query_id)
        for query_id, text, split in queries[QUERY_COLUMNS].itertuples(index=False)
    }
    stays = queries["query_id"].map(alias) == queries["query_id"]
    ledger.leave_out("queries that repeat", int((~stays).sum()))
    return queries[stays].reset_index(drop=True), alias


def _renamed(rows: list[tuple[Any, ...]], columns: list[str], alias: dict[str, str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=columns)
    for column in ("query_id", "doc_id"):
        table[column] = table[column].astype(str)
    table["query_id"] = table["query_id"].map(alias).astype(str)
    return table


def _unjudged(negatives: pd.DataFrame, qrels: pd.DataFrame, ledger: Ledger) -> pd.DataFrame:
    """Leave out negatives that the source calls relevant to the same query elsewhere."""
    judged = set(zip(qrels["query_id"], qrels["doc_id"], strict=True))
    negatives = negatives.drop_duplicates()
    pairs = zip(negatives["query_id"], negatives["doc_id"], strict=True)
    wrong = pd.Series([pair in judged for pair in pairs], index=negatives.index, dtype=bool)
    ledger.leave_out("negatives that are relevant", int(wrong.sum()))
    return negatives[~wrong]


def _of_wanted_size(queries: pd.DataFrame, qrels: pd.DataFrame, params: SourceParams, ledger: Ledger) -> pd.DataFrame:
    """Leave out queries with no relevant document, and those outside ``documents_per_query``."""
    counts = queries["query_id"].map(qrels["query_id"].value_counts()).fillna(0)
    ledger.leave_out("queries without a relevant document", int((counts == 0).sum()))
    keep = counts > 0
    if params.documents_per_query is not None:
        fewest, most = params.documents_per_query
        fits = (counts >= fewest) & (counts <= most)
        ledger.leave_out(f"queries with relevant documents outside {fewest} to {most}", int((keep & ~fits).sum()))
        keep &= fits
    return queries[keep].reset_index(drop=True)


def _semanlink(params: SourceParams, path: Path, ledger: Ledger) -> Rows:
    return read_semanlink(path, params.path, ledger)


def _beir(params: SourceParams, path: Path, ledger: Ledger) -> Rows:
    """A folder in BEIR's layout: corpus.jsonl, queries.jsonl and qrels/<split>.tsv."""
    corpus = _entries(path, params.path, "corpus.jsonl", ledger, with_title=True)
    queries = _entries(path, params.path, "queries.jsonl", ledger, with_title=False)
    files = [path / "qrels" / f"{split}.tsv" for split in SPLITS if (path / "qrels" / f"{split}.tsv").exists()]
    if not files:
        raise InputError(f"{params.path}/qrels: expected train.tsv, dev.tsv or test.tsv, found none")
    qrels, split_by_query = [], {}
    for file in files:
        name = f"{params.path}/qrels/{file.name}"
        for number, row in read_rows(file, name, ledger, ["query-id", "corpus-id", "score"]):
            try:
                query_id, doc_id = id_of(row, "query-id"), id_of(row, "corpus-id")
                relevance = _relevance(row, query_id, doc_id, queries, corpus)
            except BadRowError as bad:
                ledger.reject(name, number, bad.field, bad.reason)
                continue
            if relevance < 1:
                ledger.leave_out("judgements of no relevance")
                continue
            qrels.append((query_id, doc_id, relevance))
            split_by_query[query_id] = file.stem  # a query in two files goes to the later split
    return {
        "queries": [(query_id, text, split_by_query.get(query_id, "train")) for query_id, (_, text) in queries.items()],
        "corpus": [(doc_id, title, text) for doc_id, (title, text) in corpus.items()],
        "qrels": qrels,
    }


def _relevance(row: dict[str, Any], query_id: str, doc_id: str, queries: dict, corpus: dict) -> int:
    for field, value, known in (("query-id", query_id, queries), ("corpus-id", doc_id, corpus)):
        if value not in known:
            raise BadRowError(field, f"expected a known id, found {shown(value)}, which {FILE_OF[field]} lacks")
    relevance = number_of(row, "score")
    if relevance != int(relevance) or abs(relevance) > HIGHEST_RELEVANCE:
        raise BadRowError("score", f"expected a whole number of at most {HIGHEST_RELEVANCE}, found {relevance:g}")
    return int(relevance)


def _entries(path: Path, place: str, file: str, ledger: Ledger, *, with_title: bool) -> dict[str, tuple[str, str]]:
    """Return (title, text) by id; a title may stand in for an empty text."""
    entries: dict[str, tuple[str, str]] = {}
    for number, row in read_rows(path / file, f"{place}/{file}", ledger, ["_id", "text"]):
        try:
            entry_id = id_of(row, "_id")
            title = text_of(row, "title") if with_title and not _blank(row.get("title")) else ""
            text = "" if title and _blank(row["text"]) else text_of(row, "text")
            if entry_id in entries:
                raise BadRowError("_id", f"expected ids that differ, found {shown(entry_id)} again")
        except BadRowError as bad:
            ledger.reject(f"{place}/{file}", number, bad.field, bad.reason)
            continue
        entries[entry_id] = (title, text)
    return entries


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _flag_embedding(params: SourceParams, path: Path, ledger: Ledger) -> Rows:
    """A jsonl as FlagEmbedding trains on: query, pos (texts), neg (texts, may lack). A text is one document."""
    corpus: dict[str, tuple[str, str, str]] = {}
    rows: Rows = {"queries": [], "qrels": [], "negatives": []}

    def document(text: str) -> str:
        return corpus.setdefault(text, (f"d{len(corpus)}", "", text))[0]

    for number, row in read_rows(path, params.path, ledger, ["query", "pos"]):
        try:
            query, positives = text_of(row, "query"), texts_of(row, "pos")
            negatives = texts_of(row, "neg") if row.get("neg") is not None else []
            if not positives:
                raise BadRowError("pos", "expected one text at least, found none")
        except BadRowError as bad:
            ledger.reject(params.path, number, bad.field, bad.reason)
            continue
        query_id = f"q{number}"
        rows["queries"].append((query_id, query, "train"))
        rows["qrels"] += [(query_id, document(text), 1) for text in positives]
        rows["negatives"] += [(query_id, document(text)) for text in negatives]
    return {**rows, "corpus": list(corpus.values())}
