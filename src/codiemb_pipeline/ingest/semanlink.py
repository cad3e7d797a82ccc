"""Semanlink, François-Paul Servant's bookmarks, as shipped in cherche: a tag asks for the documents he gave it to.

Documents of one title are one document, tags of one label one query, relevant to all that either was given to. A tag
with several labels (10 of 4,603) is asked by its first; the others are translations or spellings of it. Documents are
titles alone. Knows nothing of splits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codiemb_pipeline.ingest.corpus import CorpusWriter
from codiemb_pipeline.ingest.files import read_document
from codiemb_pipeline.ingest.judged import Judged
from codiemb_pipeline.ingest.origin import Source
from codiemb_pipeline.ingest.rows import BadRowError, Ledger, shown, text_of, texts_of
from codiemb_pipeline.texts import text_key

DOCUMENTS, TAGS = "docs.json", "tags.json"


def read_semanlink(source: Source, folder: Path, ledger: Ledger, corpus: CorpusWriter) -> Judged:
    """Read the bookmarks.

    Args:
        source: its ``path`` is how messages call the folder.
        folder: holds docs.json and tags.json.
        ledger: takes bad rows and counts; a row is an entry of docs.json, from 1.
        corpus: takes the documents.

    Raises:
        InputError: a file as a whole can't be used.
    """
    place = source.path
    documents = read_document(folder / DOCUMENTS, f"{place}/{DOCUMENTS}", list)
    tags = read_document(folder / TAGS, f"{place}/{TAGS}", dict)
    ids: dict[str, str] = {}
    queries: dict[str, tuple[str, str, None]] = {}
    qrels: set[tuple[str, int]] = set()
    for number, document in enumerate(documents, start=1):
        ledger.rows += 1
        try:
            title, labels = _title_and_labels(document, tags)
        except BadRowError as bad:
            ledger.reject(f"{place}/{DOCUMENTS}", number, bad.field, bad.reason)
            continue
        if not title:
            ledger.leave_out("documents without a title")
            continue
        key = text_key(title)
        if key in ids:
            ledger.leave_out("documents whose title repeats")
        doc_id = ids.setdefault(key, f"d{number}")
        corpus.add(doc_id, title, "")
        for uri, label in labels.items():
            query_id = queries.setdefault(text_key(label), (uri.rsplit("/", 1)[-1], label, None))[0]
            qrels.add((query_id, corpus.number(doc_id)))
    judged = Judged(queries=sorted(queries.values()))
    numbers = {query_id: number for number, (query_id, _, _) in enumerate(judged.queries)}
    for query_id, document in sorted(qrels):
        judged.qrels.add(numbers[query_id], document)
    return judged


def _title_and_labels(document: Any, tags: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the title, empty where there is none, and the label of each of the document's tags by its URI."""
    if not isinstance(document, dict):
        raise BadRowError("(entry)", f"expected an object, found {shown(document)}")
    title = "" if document.get("title") in (None, "") else document["title"]
    if isinstance(title, str) and not title.strip():
        return "", {}
    return text_of({"title": title}, "title"), {
        uri: _label(uri, tags) for uri in texts_of({"tag": [], **document}, "tag")
    }


def _label(uri: str, tags: dict[str, Any]) -> str:
    tag = tags.get(uri)
    if not isinstance(tag, dict):
        raise BadRowError("tag", f"expected a tag of {TAGS}, found {shown(uri)}")
    labels = texts_of({"prefLabel": None, **tag}, "prefLabel")
    if not labels:
        raise BadRowError("tag", f"expected a label of {shown(uri)} in {TAGS}, found none")
    return labels[0]
