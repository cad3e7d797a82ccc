"""The relevance judgements of a source, by training query and as rows of its corpus.

Documents whose texts are the same (``texts.text_key``) form a text group. Queries whose texts are the same share their
positives, whatever their split: what answers the one answers the other.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from codiemb_pipeline.artifacts.ingest import RetrievalTables
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.texts import text_key

_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Known:
    """What cannot be a negative of a query.

    Attributes:
        positives: rows of its own positives in the corpus, int64.
        groups: text groups of its positives and of its own text, int64.
    """

    positives: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True, kw_only=True)
class MiningSource:
    """A retrieval source, ready to be mined.

    Attributes:
        name: of the source.
        query_ids: of the training queries, in the order of the table.
        document_ids: of the whole corpus, by row.
        groups: text group of each document, int64 (N,).
        known: of each training query, what cannot be a negative of it.
        excluded: number of documents in those text groups, int64 (Q,).
        named: rows of the negatives the source names, for each training query, int64.
    """

    name: str
    query_ids: list[str]
    document_ids: list[str]
    groups: np.ndarray
    known: list[Known]
    excluded: np.ndarray
    named: list[np.ndarray]


def check_minable(tables: RetrievalTables, name: str) -> None:
    """Raise InputError when source ``name`` has no training queries or no documents."""
    for what, rows in (("training queries", tables.of_split("train")), ("documents", tables.document_ids)):
        if not len(rows):
            raise InputError(f"source {name!r}: expected {what}, found none; see params.yaml, ingest.sources.{name}")


def read_relevance(tables: RetrievalTables, name: str, groups: np.ndarray) -> MiningSource:
    """Arrange the tables of source ``name`` by training query.

    Args:
        tables: of the source.
        name: of the source.
        groups: text group of each document, then of each training query, int64 (N + Q,).

    Raises:
        InputError: a table names an unknown query or document.
    """
    train, document_ids = tables.of_split("train"), tables.document_ids
    row_of = pd.Index(document_ids)
    query_keys = dict(zip(tables.queries["query_id"], map(text_key, tables.queries["text"]), strict=True))
    positives = _rows_by_key(tables.qrels, row_of, query_keys, f"source {name!r}: qrels")
    named = _rows_by_key(tables.negatives, row_of, query_keys, f"source {name!r}: negatives")
    keys = [query_keys[query_id] for query_id in train["query_id"]]
    documents, own = groups[: len(document_ids)], groups[len(document_ids) :]
    sizes = np.bincount(documents, minlength=int(groups.max()) + 1)
    rows = [positives.get(key, _NONE) for key in keys]
    known = [Known(one, np.unique(np.append(documents[one], group))) for one, group in zip(rows, own, strict=True)]
    return MiningSource(
        name=name,
        query_ids=train["query_id"].tolist(),
        document_ids=document_ids,
        groups=documents,
        known=known,
        excluded=np.array([sizes[one.groups].sum() for one in known]),
        named=[named.get(key, _NONE) for key in keys],
    )


def _rows_by_key(
    table: pd.DataFrame, row_of: pd.Index, query_keys: dict[str, str], where: str
) -> dict[str, np.ndarray]:
    """Return the corpus rows ``table`` gives each query text, each once, in the order of the table."""
    found = pd.DataFrame({"key": table["query_id"].map(query_keys), "row": row_of.get_indexer(table["doc_id"])})
    unknown = {"doc_id": found["row"] < 0, "query_id": found["key"].isna()}
    if (bad := unknown["doc_id"] | unknown["query_id"]).any():
        row = int(bad.argmax())
        field = next(field for field, rows in unknown.items() if rows.iloc[row])
        raise InputError(f"{where}, row {row + 1}: {field}: expected a known id, found {table[field].iloc[row]!r}")
    found = found.drop_duplicates()
    rows = found["row"].to_numpy()
    return {key: rows[indices] for key, indices in found.groupby("key", sort=False).indices.items()}
