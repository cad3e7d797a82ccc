"""The relevance judgements of a source, by training query and as rows of its corpus.

Documents whose texts are the same (``texts.text_key``) form a text group. Queries whose texts are the same share their
positives, whatever their split: what answers the one answers the other.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pandas as pd

from codiemb_pipeline.artifacts.ingest import RetrievalTables
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.texts import text_key

_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
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
        group_sizes: documents in each group, int64.
        known: of each training query, what cannot be a negative of it.
        named: rows of the negatives the source names, for each training query, int64.
    """

    name: str
    query_ids: list[str]
    document_ids: list[str]
    groups: np.ndarray
    group_sizes: np.ndarray
    known: list[Known]
    named: list[np.ndarray]

    def most_excluded(self, queries: range) -> int:
        """Return how many documents at most are positives of, or equal in text to one or to, one of ``queries``."""
        return max((int(self.group_sizes[self.known[query].groups].sum()) for query in queries), default=0)


def check_minable(tables: RetrievalTables, name: str) -> None:
    """Raise InputError when source ``name`` has no training queries or no documents."""
    for what, count in (("training queries", len(tables.of_split("train"))), ("documents", len(tables.document_ids))):
        if not count:
            where = f"params.yaml, ingest.sources.{name}"
            raise InputError(f"source {name!r}: expected {what} to mine, found none; see {where}")


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
    positives = _rows_by_key(tables.qrels, row_of, query_keys, name, "qrels")
    named = _rows_by_key(tables.negatives, row_of, query_keys, name, "negatives")
    keys = [query_keys[query_id] for query_id in train["query_id"]]
    documents, queries = groups[: len(document_ids)], groups[len(document_ids) :]
    return MiningSource(
        name=name,
        query_ids=train["query_id"].tolist(),
        document_ids=document_ids,
        groups=documents,
        group_sizes=np.bincount(documents, minlength=int(groups.max()) + 1),
        known=[_known(positives.get(key, _NONE), documents, own) for key, own in zip(keys, queries, strict=True)],
        named=[named.get(key, _NONE) for key in keys],
    )


def _known(positives: np.ndarray, groups: np.ndarray, own_group: int) -> Known:
    return Known(positives=positives, groups=np.unique(np.append(groups[positives], own_group)))


def _rows_by_key(
    table: pd.DataFrame, row_of: pd.Index, query_keys: dict[str, str], source: str, name: str
) -> dict[str, np.ndarray]:
    """Return the corpus rows ``table`` gives each query text, each once, in the order of the table."""
    rows = row_of.get_indexer(pd.Index(table["doc_id"]))
    collected: dict[str, list[int]] = defaultdict(list)
    for number, (query_id, document_id, row) in enumerate(zip(table["query_id"], table["doc_id"], rows, strict=True)):
        if row < 0 or query_id not in query_keys:
            field, found = ("doc_id", document_id) if row < 0 else ("query_id", query_id)
            raise InputError(
                f"source {source!r}: {name}, row {number + 1}: {field}: expected a known id, found {found!r}"
            )
        collected[query_keys[query_id]].append(int(row))
    return {key: np.array(list(dict.fromkeys(values)), dtype=np.int64) for key, values in collected.items()}
