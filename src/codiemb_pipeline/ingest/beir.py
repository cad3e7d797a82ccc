"""Reader of a folder in BEIR's layout: corpus.jsonl, queries.jsonl and qrels/<split>.tsv. Knows nothing of shares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.corpus import CorpusWriter
from codiemb_pipeline.ingest.files import read_rows
from codiemb_pipeline.ingest.judged import Judged
from codiemb_pipeline.ingest.origin import Source
from codiemb_pipeline.ingest.rows import BadRowError, Ledger, id_of, known_number, shown, text_of, whole_number_of
from codiemb_pipeline.schema import SPLITS

CORPUS, QUERIES = "corpus.jsonl", "queries.jsonl"


def read_beir(source: Source, path: Path, ledger: Ledger, corpus: CorpusWriter) -> Judged:
    """Read the folder; its queries take the split of the last qrels file that names them, or train.

    Raises:
        InputError: a file is missing or can't be used as a whole.
    """
    _read_corpus(path / CORPUS, f"{source.path}/{CORPUS}", ledger, corpus)
    texts = _read_queries(path / QUERIES, f"{source.path}/{QUERIES}", ledger)
    numbers = {query_id: number for number, query_id in enumerate(texts)}
    files = [path / "qrels" / f"{split}.tsv" for split in SPLITS if (path / "qrels" / f"{split}.tsv").exists()]
    if not files:
        raise InputError(f"{source.path}/qrels: expected train.tsv, dev.tsv or test.tsv, found none")
    judged, split_by_query = Judged(), {}
    for file in files:
        name = f"{source.path}/qrels/{file.name}"
        for number, row in read_rows(file, name, ledger, ["query-id", "corpus-id", "score"]):
            try:
                query_id, doc_id = id_of(row, "query-id"), id_of(row, "corpus-id")
                query = known_number(numbers.get(query_id), "query-id", query_id, QUERIES)
                document = known_number(corpus.number(doc_id), "corpus-id", doc_id, CORPUS)
                relevance = whole_number_of(row, "score")
            except BadRowError as bad:
                ledger.reject(name, number, bad.field, bad.reason)
                continue
            if relevance < 1:
                ledger.leave_out("judgements of no relevance")
                continue
            judged.qrels.add(query, document, relevance)
            split_by_query[query_id] = file.stem  # a query in two files goes to the later split
    judged.queries = [(query_id, text, split_by_query.get(query_id, "train")) for query_id, text in texts.items()]
    return judged


def _read_corpus(path: Path, name: str, ledger: Ledger, corpus: CorpusWriter) -> None:
    """Write the documents; a title may stand in for an empty text."""
    for number, row in read_rows(path, name, ledger, ["_id", "text"]):
        try:
            doc_id = id_of(row, "_id")
            title = "" if _blank(row.get("title")) else text_of(row, "title")
            text = "" if title and _blank(row["text"]) else text_of(row, "text")
            if not corpus.add(doc_id, title, text):
                raise BadRowError("_id", f"expected ids that differ, found {shown(doc_id)} again")
        except BadRowError as bad:
            ledger.reject(name, number, bad.field, bad.reason)


def _read_queries(path: Path, name: str, ledger: Ledger) -> dict[str, str]:
    texts: dict[str, str] = {}
    for number, row in read_rows(path, name, ledger, ["_id", "text"]):
        try:
            query_id, text = id_of(row, "_id"), text_of(row, "text")
            if query_id in texts:
                raise BadRowError("_id", f"expected ids that differ, found {shown(query_id)} again")
        except BadRowError as bad:
            ledger.reject(name, number, bad.field, bad.reason)
            continue
        texts[query_id] = text
    return texts


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
