"""Semanlink, François-Paul Servant's bookmarks, as shipped in cherche: a tag asks for the documents he gave it to.

Documents of one title are one document, tags of one label one query, relevant to all that either was given to. A tag
with several labels (10 of 4,603) is asked by its first; the others are translations or spellings of it. Documents are
titles alone. Knows nothing of splits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codiemb_pipeline.ingest.files import read_document
from codiemb_pipeline.ingest.rows import BadRowError, Ledger, shown, text_of, texts_of
from codiemb_pipeline.texts import text_key

DOCUMENTS, TAGS = "docs.json", "tags.json"


def read_semanlink(folder: Path, place: str, ledger: Ledger) -> dict[str, list[tuple[Any, ...]]]:
    """Return rows of ``queries`` (without a split), ``corpus`` and ``qrels``.

    Args:
        folder: holds docs.json and tags.json.
        place: how messages call the folder.
        ledger: takes bad rows and counts; a row is an entry of docs.json, from 1.

    Raises:
        InputError: a file as a whole can't be used.
    """
    documents = read_document(folder / DOCUMENTS, f"{place}/{DOCUMENTS}", list)
    tags = read_document(folder / TAGS, f"{place}/{TAGS}", dict)
    corpus: dict[str, tuple[str, str, str]] = {}
    queries: dict[str, tuple[str, str, None]] = {}
    qrels: set[tuple[str, str]] = set()
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
        if key in corpus:
            ledger.leave_out("documents whose title repeats")
        doc_id = corpus.setdefault(key, (f"d{number}", title, ""))[0]
        for uri, label in labels.items():
            query_id = queries.setdefault(text_key(label), (uri.rsplit("/", 1)[-1], label, None))[0]
            qrels.add((query_id, doc_id))
    position = {doc_id: number for number, (doc_id, _, _) in enumerate(corpus.values())}
    ordered = sorted(qrels, key=lambda pair: (pair[0], position[pair[1]]))
    return {
        "queries": sorted(queries.values()),
        "corpus": list(corpus.values()),
        "qrels": [(query_id, doc_id, 1) for query_id, doc_id in ordered],
    }


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
