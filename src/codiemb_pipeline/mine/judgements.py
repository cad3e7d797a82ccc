"""What the tables of a source say of each training query, as rows of its corpus. Knows nothing of vectors or ranks.

Documents whose texts are the same (``texts.text_key``) form a text group. Queries whose texts are the same share their
positives, whatever their split: what answers the one answers the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from codiemb_pipeline.artifacts.ingest import RetrievalTables
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.mine.negatives import Truth
from codiemb_pipeline.texts import text_key

_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class MiningSource:
    """A retrieval source, ready to be mined.

    Attributes:
        name: of the source.
        query_ids: of the training queries, in the order of the table.
        query_texts: their texts.
        document_ids: of the whole corpus, by row.
        document_texts: as fed to the encoder.
        groups: text group of each document, int64 (N,).
        group_sizes: documents in each group, int64.
        truths: of each training query.
        named: rows of the negatives the source names, for each training query, int64.
    """

    name: str
    query_ids: list[str]
    query_texts: list[str]
    document_ids: list[str]
    document_texts: list[str]
    groups: np.ndarray
    group_sizes: np.ndarray
    truths: list[Truth]
    named: list[np.ndarray]

    def most_excluded(self, queries: range) -> int:
        """Return how many documents at most are positives of, or equal in text to one or to, one of ``queries``."""
        return max((int(self.group_sizes[self.truths[query].groups].sum()) for query in queries), default=0)


def check_minable(tables: RetrievalTables, name: str) -> None:
    """Raise InputError when source ``name`` has no training queries or no documents."""
    for what, table in (("training queries", tables.of_split("train")), ("documents", tables.corpus)):
        if table.empty:
            where = f"params.yaml, ingest.sources.{name}"
            raise InputError(f"source {name!r}: expected {what} to mine, found none; see {where}")


def read_judgements(tables: RetrievalTables, name: str) -> MiningSource:
    """Arrange the tables of source ``name`` by training query.

    Raises:
        InputError: there are no training queries or documents, or a table names an unknown document.
    """
    check_minable(tables, name)
    train = tables.of_split("train")
    texts = tables.document_texts().tolist()
    groups, group_of = _text_groups(texts)
    row_of = pd.Index(tables.corpus["doc_id"])
    query_keys = dict(zip(tables.queries["query_id"], map(text_key, tables.queries["text"]), strict=True))
    positives = _rows_by_key(tables.qrels, row_of, query_keys, name, "qrels")
    named = _rows_by_key(tables.negatives, row_of, query_keys, name, "negatives")
    keys = [query_keys[query_id] for query_id in train["query_id"]]
    return MiningSource(
        name=name,
        query_ids=train["query_id"].tolist(),
        query_texts=train["text"].tolist(),
        document_ids=tables.corpus["doc_id"].tolist(),
        document_texts=texts,
        groups=groups,
        group_sizes=np.bincount(groups),
        truths=[_truth(positives.get(key, _NONE), groups, group_of.get(key)) for key in keys],
        named=[named.get(key, _NONE) for key in keys],
    )


def _truth(positives: np.ndarray, groups: np.ndarray, own_group: int | None) -> Truth:
    own = [] if own_group is None else [own_group]
    return Truth(positives=positives, groups=np.unique(np.append(groups[positives], np.array(own, dtype=np.int64))))


def _text_groups(texts: Iterable[str]) -> tuple[np.ndarray, dict[str, int]]:
    """Return the group of each text, int64 (N,), and the group of each text key."""
    group_of: dict[str, int] = {}
    groups = [group_of.setdefault(text_key(text), len(group_of)) for text in texts]
    return np.array(groups, dtype=np.int64), group_of


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
