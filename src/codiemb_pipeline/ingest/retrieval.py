"""Retrieval sources: what readers hand on becomes tables with splits, repeats merged and bad judgements counted.

Documents stream to disk (``corpus.py``); queries and judgements are in memory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from codiemb_pipeline.artifacts.ingest import NEGATIVES_COLUMNS, QRELS_COLUMNS, QUERY_COLUMNS, keep_rows
from codiemb_pipeline.ingest.beir import read_beir
from codiemb_pipeline.ingest.corpus import CorpusWriter
from codiemb_pipeline.ingest.judged import Judged
from codiemb_pipeline.ingest.origin import Source
from codiemb_pipeline.ingest.query_rows import read_flag_embedding, read_query_rows
from codiemb_pipeline.ingest.rows import Ledger
from codiemb_pipeline.ingest.semanlink import read_semanlink
from codiemb_pipeline.ingest.splits import keep_apart, limit_place, split_of, within_limit
from codiemb_pipeline.ingest.tables import read_tables
from codiemb_pipeline.texts import text_key

READERS = {
    "semanlink": read_semanlink,
    "beir": read_beir,
    "flag_embedding": read_flag_embedding,
    "rows": read_query_rows,
    "tables": read_tables,
}


def read_retrieval_source(source: Source, path: Path, seed: int, ledger: Ledger, folder: Path) -> dict[str, object]:
    """Read a retrieval source into ``folder``.

    Args:
        source: its description.
        path: its file or folder.
        seed: enters the splits.
        ledger: takes bad rows and counts.
        folder: an existing one, for the four tables.

    Returns:
        Counts: ``splits`` (queries by split), ``documents``, ``judgements``.

    Raises:
        InputError: a file as a whole can't be used.
    """
    with CorpusWriter(folder / "corpus.parquet") as corpus:
        judged = READERS[source.reader](source, path, ledger, corpus)
    queries = pd.DataFrame(judged.queries, columns=QUERY_COLUMNS)
    queries["number"] = np.arange(len(queries))
    if source.splits is not None:
        keys = queries["text"].map(text_key)
        queries["split"] = [split_of(key, source.splits, seed=seed, source=ledger.source) for key in keys]
    queries, alias = _merge_repeats(queries, ledger)
    qrels = judged.qrels.table(alias)
    repeated = qrels.duplicated(["query", "document"])
    ledger.leave_out("judgements that repeat", int(repeated.sum()))
    qrels = qrels[~repeated]
    queries = _of_wanted_size(queries, qrels, source.documents_per_query, ledger)
    queries = keep_apart(queries, queries["text"].map(text_key), ledger, "queries")
    if source.limit is not None:
        queries = _limited(queries, source.limit, seed, ledger)
    negatives = _unjudged(judged.negatives.table(alias), qrels, ledger)
    qrels, negatives = (table[table["query"].isin(queries["number"])] for table in (qrels, negatives))
    _write(queries, qrels, negatives, judged, corpus, folder)
    documents = len(corpus)
    if source.limit is not None and not judged.own_corpus:
        documents = _leave_needed(folder / "corpus.parquet", documents, qrels, negatives, ledger)
    splits = queries["split"].value_counts().to_dict()
    return {"splits": splits, "documents": documents, "judgements": len(qrels)}


def _merge_repeats(queries: pd.DataFrame, ledger: Ledger) -> tuple[pd.DataFrame, np.ndarray]:
    """Keep the first of the queries with one text in one split.

    Returns:
        The queries that stay, and for every query the number of the one that stands for it, int64: without it the
        documents of the repeat would be taken for negatives of the query.
    """
    firsts: dict[tuple[str, str | None], int] = {}
    named = zip(queries["text"], queries["split"], queries["number"], strict=True)
    alias = np.array(
        [firsts.setdefault((text_key(text), split), number) for text, split, number in named], dtype=np.int64
    )
    stays = alias == queries["number"].to_numpy()
    ledger.leave_out("queries that repeat", int((~stays).sum()))
    return queries[stays].reset_index(drop=True), alias


def _unjudged(negatives: pd.DataFrame, qrels: pd.DataFrame, ledger: Ledger) -> pd.DataFrame:
    """Leave out negatives that the source calls relevant to the same query elsewhere."""
    negatives = negatives[~negatives.duplicated(["query", "document"])]
    keys = [table["query"] * 2**32 + table["document"] for table in (negatives, qrels)]
    wrong = keys[0].isin(keys[1])
    ledger.leave_out("negatives that are relevant", int(wrong.sum()))
    return negatives[~wrong]


def _of_wanted_size(
    queries: pd.DataFrame, qrels: pd.DataFrame, wanted: tuple[int, int] | None, ledger: Ledger
) -> pd.DataFrame:
    """Leave out queries with no relevant document, and those outside ``documents_per_query``."""
    counts = queries["number"].map(qrels["query"].value_counts()).fillna(0)
    ledger.leave_out("queries without a relevant document", int((counts == 0).sum()))
    keep = counts > 0
    if wanted is not None:
        fewest, most = wanted
        fits = (counts >= fewest) & (counts <= most)
        ledger.leave_out(f"queries with relevant documents outside {fewest} to {most}", int((keep & ~fits).sum()))
        keep &= fits
    return queries[keep].reset_index(drop=True)


def _limited(queries: pd.DataFrame, limit: int, seed: int, ledger: Ledger) -> pd.DataFrame:
    places = [limit_place(text_key(text), seed=seed, source=ledger.source) for text in queries["text"]]
    keep = within_limit(np.array(places), limit)
    ledger.leave_out("queries over the limit", int((~keep).sum()))
    return queries[keep].reset_index(drop=True)


def _write(
    queries: pd.DataFrame,
    qrels: pd.DataFrame,
    negatives: pd.DataFrame,
    judged: Judged,
    corpus: CorpusWriter,
    folder: Path,
) -> None:
    """Write the three tables beside the corpus, numbers replaced by ids."""
    query_ids = np.array([query_id for query_id, _, _ in judged.queries], dtype=object)
    queries[QUERY_COLUMNS].to_parquet(folder / "queries.parquet", index=False)
    for name, table, columns in (("qrels", qrels, QRELS_COLUMNS), ("negatives", negatives, NEGATIVES_COLUMNS)):
        ids = {
            "query_id": pd.Series(query_ids[table["query"].to_numpy()], dtype=str),
            "doc_id": pd.Series(corpus.ids(table["document"].to_numpy()), dtype=str),
            "relevance": table["relevance"].to_numpy(),
        }
        pd.DataFrame(ids)[columns].to_parquet(folder / f"{name}.parquet", index=False)


def _leave_needed(path: Path, documents: int, qrels: pd.DataFrame, negatives: pd.DataFrame, ledger: Ledger) -> int:
    """Leave only the documents that the queries within the limit name; return how many those are."""
    keep = np.zeros(documents, dtype=bool)
    for table in (qrels, negatives):
        keep[table["document"].to_numpy()] = True
    ledger.leave_out("documents of no query within the limit", int((~keep).sum()))
    keep_rows(path, keep)
    return int(keep.sum())
