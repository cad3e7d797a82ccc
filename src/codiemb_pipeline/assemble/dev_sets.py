"""The dev split of a source as a held-out set of text ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from codiemb_pipeline.artifacts.assemble import DevPairs, DevRetrieval
from codiemb_pipeline.artifacts.ingest import PairTables, RetrievalTables, read_pairs, read_retrieval, task_of
from codiemb_pipeline.assemble.tokens import TextRegister
from codiemb_pipeline.assemble.training_set import choose
from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.assemble import AssembleParams


def dev_set(
    name: str, params: AssembleParams, prompts: PromptBook, sources: Path, register: TextRegister
) -> tuple[DevRetrieval | DevPairs, dict[str, Any]]:
    """Return the dev set of source ``name`` and its counts for the manifest.

    Raises:
        InputError: the source does not exist, has no dev rows, or its qrels name an unknown document.
    """
    if task_of(sources, name) == "sts":
        return _dev_pairs(name, read_pairs(sources, name), prompts, register)
    return _dev_retrieval(name, read_retrieval(sources, name), params, prompts, register)


def _dev_pairs(
    name: str, tables: PairTables, prompts: PromptBook, register: TextRegister
) -> tuple[DevPairs, dict[str, Any]]:
    pairs = tables.of_split("dev")
    _check_rows(name, len(pairs))
    prefix = prompts.prefix("sts", "query", name)
    sides = [[register.add(prefix, text) for text in pairs[side]] for side in ("text_a", "text_b")]
    gold = pairs["gold"].to_numpy(dtype=np.float32)
    return DevPairs(name, np.array(sides, dtype=np.int64).T, gold), {"task": "sts", "pairs": len(pairs), "dropped": {}}


def _dev_retrieval(
    name: str, tables: RetrievalTables, params: AssembleParams, prompts: PromptBook, register: TextRegister
) -> tuple[DevRetrieval, dict[str, Any]]:
    dev = tables.of_split("dev")
    qrels = tables.qrels[tables.qrels["query_id"].isin(dev["query_id"])]
    queries = dev[dev["query_id"].isin(qrels["query_id"])]
    _check_rows(name, len(queries))
    corpus = _dev_corpus(name, tables, set(qrels["doc_id"]), params)
    document_texts = list(tables.document_texts())
    query_prefix, document_prefix = (prompts.prefix("ir", role, name) for role in ("query", "document"))
    held_out = DevRetrieval(
        name,
        np.array([register.add(query_prefix, text) for text in queries["text"]], dtype=np.int64),
        np.array([register.add(document_prefix, document_texts[row]) for row in corpus], dtype=np.int64),
        _qrels_by_row(name, qrels, queries["query_id"], tables.corpus["doc_id"].iloc[corpus]),
    )
    dropped = {
        "queries_without_positives": len(dev) - len(queries),
        "documents_over_limit": len(tables.corpus) - len(corpus),
    }
    sizes = {"queries": len(queries), "documents": len(corpus), "qrels": len(qrels)}
    return held_out, {"task": "ir", **sizes, "dropped": dropped}


def _dev_corpus(name: str, tables: RetrievalTables, relevant: set[str], params: AssembleParams) -> list[int]:
    """Return the rows of the corpus that are searched: the relevant ones, and others up to ``dev_documents``."""
    ids = tables.corpus["doc_id"].tolist()
    others = [row for row, document_id in enumerate(ids) if document_id not in relevant]
    limit = params.dev_documents
    room = None if limit is None else max(0, limit - (len(ids) - len(others)))
    chosen = choose([ids[row] for row in others], room, params.seed, "dev", name)
    kept = {others[place] for place in chosen}
    return [row for row, document_id in enumerate(ids) if document_id in relevant or row in kept]


def _qrels_by_row(name: str, qrels: pd.DataFrame, query_ids: pd.Series, document_ids: pd.Series) -> np.ndarray:
    """Return (R, 3): row of the query, row of the document, relevance; sorted."""
    queries = pd.Index(query_ids).get_indexer(qrels["query_id"])
    documents = pd.Index(document_ids).get_indexer(qrels["doc_id"])
    if (documents < 0).any():
        found = qrels["doc_id"].iloc[int(np.flatnonzero(documents < 0)[0])]
        raise InputError(f"source {name!r}: qrels: doc_id: expected a known id, found {found!r}; run ingest again")
    rows = np.stack([queries, documents, qrels["relevance"].to_numpy(dtype=np.int64)], axis=1)
    return rows[np.lexsort(rows.T[::-1])]


def _check_rows(name: str, rows: int) -> None:
    if not rows:
        raise InputError(
            f"source {name!r}: named in params.yaml, assemble.dev_sources, but has no dev rows; see its splits in "
            f"ingest.sources.{name}"
        )
