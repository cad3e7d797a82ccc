"""Readers of rows that hold a query with the texts of its documents. A text is one document. Knows no split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codiemb_pipeline.ingest.corpus import CorpusWriter
from codiemb_pipeline.ingest.files import read_rows
from codiemb_pipeline.ingest.judged import Judged
from codiemb_pipeline.ingest.layouts import Rows
from codiemb_pipeline.ingest.origin import Source
from codiemb_pipeline.ingest.rows import BadRowError, Ledger, shown, text_of, texts_of

FLAG_EMBEDDING = Rows(file="", query="query", positive="pos", negative="neg")


def read_flag_embedding(source: Source, path: Path, ledger: Ledger, corpus: CorpusWriter) -> Judged:
    """Read a jsonl as FlagEmbedding trains on: query, pos (texts), neg (texts, may lack)."""
    return _read(source, path, FLAG_EMBEDDING, ledger, corpus)


def read_query_rows(source: Source, path: Path, ledger: Ledger, corpus: CorpusWriter) -> Judged:
    """Read a file of the layout that the registry declares; documents may be objects with a ``text``."""
    return _read(source, path, source.rows, ledger, corpus, objects=True)


def _read(
    source: Source, path: Path, columns: Rows, ledger: Ledger, corpus: CorpusWriter, *, objects: bool = False
) -> Judged:
    judged = Judged(own_corpus=False)
    documents_of = passages_of if objects else texts_of
    for number, row in read_rows(path, source.path, ledger, [columns.query, columns.positive]):
        try:
            query, positives = text_of(row, columns.query), documents_of(row, columns.positive)
            negatives = documents_of(row, columns.negative) if row.get(columns.negative) is not None else []
            if not positives:
                raise BadRowError(columns.positive, "expected one text at least, found none")
        except BadRowError as bad:
            ledger.reject(source.path, number, bad.field, bad.reason)
            continue
        place = len(judged.queries)
        judged.queries.append((f"q{number}", query, "train"))
        for text in positives:
            judged.qrels.add(place, corpus.number_of_text(text))
        kept = negatives[: source.named_negatives]
        ledger.leave_out("negatives over named_negatives", len(negatives) - len(kept))
        for text in kept:
            judged.negatives.add(place, corpus.number_of_text(text))
    return judged


def passages_of(row: dict[str, Any], field_name: str) -> list[str]:
    """Return a field that is a list of texts, or of objects that hold one in ``text``.

    Raises:
        BadRowError: it is no list, or holds something else.
    """
    value = row[field_name]
    if not isinstance(value, list):
        raise BadRowError(field_name, f"expected a list of documents, found {shown(value)}")
    texts = []
    for place, item in enumerate(value):
        name = f"{field_name}[{place}]"
        if isinstance(item, dict):
            if "text" not in item:
                raise BadRowError(name, f"expected a text, found {shown(item)}")
            texts.append(text_of({f"{name}.text": item["text"]}, f"{name}.text"))
        else:
            texts.append(text_of({name: item}, name))
    return texts
