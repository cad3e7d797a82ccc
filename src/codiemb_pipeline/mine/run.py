"""The stage: encodes queries and corpus of each source, mines, writes hard negatives and the audit.

    <source>.jsonl   {"query_id", "negatives": [doc_id], "scores": [cosine]}, a line per training query in their order
    audit.json       see artifacts.mine
    made_under.json  what the similarities depend on beside the texts (encoder.compatibility), if any source was mined

Embeddings lie on disk (4 · D bytes per text); what is held are ids, the queries' embeddings and blocks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from codiemb_pipeline.artifacts.ingest import RetrievalTables, read_retrieval
from codiemb_pipeline.artifacts.mine import MiningAudit, SourceAudit
from codiemb_pipeline.encoder.checkpoint import base_folder, load_tokenizer, weights_digest
from codiemb_pipeline.encoder.compatibility import SETTINGS_FINGERPRINT, settings_fingerprint
from codiemb_pipeline.jsonl import write_json, write_jsonl
from codiemb_pipeline.mine.audit import AuditCollector
from codiemb_pipeline.mine.layout import Texts, laid_out
from codiemb_pipeline.mine.mining import MinedQuery, mine_source
from codiemb_pipeline.mine.neighbours import read_neighbours
from codiemb_pipeline.mine.prepare import prepared
from codiemb_pipeline.mine.relevance import MiningSource, check_minable
from codiemb_pipeline.mine.vectors import read_vectors
from codiemb_pipeline.params.encoder import EncoderParams
from codiemb_pipeline.params.mine import MineParams

logger = logging.getLogger(__name__)


def mine_hard_negatives(
    params: MineParams, encoder_params: EncoderParams, sources: Path, names: list[str], out: Path, work: Path
) -> None:
    """Mine hard negatives for the training queries of retrieval sources, with the base encoder.

    Args:
        params: the ``mine`` section.
        encoder_params: the ``encoder`` section.
        sources: the folder ``ingest`` wrote.
        names: retrieval sources to mine; none is allowed, and leaves an empty audit.
        out: folder to write into.
        work: folder of work in progress.

    Raises:
        InputError: a source does not exist, is no retrieval source, has no training queries, or its tables disagree.
        PipelineError: a process failed.
    """
    for name in names:  # before the first is encoded, which may take hours
        check_minable(read_retrieval(sources, name), name)
    audits: dict[str, SourceAudit] = {}
    if names:
        with prepared(params, encoder_params, sources, names, work) as folder:
            for name in names:
                audits[name] = _mine_source(read_retrieval(sources, name), name, folder / name, params, out)
        base = weights_digest(base_folder(encoder_params))
        write_json(out / SETTINGS_FINGERPRINT, settings_fingerprint(load_tokenizer(encoder_params), base))
    MiningAudit(sources=audits).write(out / "audit.json")


def _mine_source(tables: RetrievalTables, name: str, folder: Path, params: MineParams, out: Path) -> SourceAudit:
    """Write the hard negatives of one source and return its audit."""
    source = laid_out(tables, name, folder)
    collector = AuditCollector(source, Texts(folder, "query"), Texts(folder, "document"), params)
    queries, documents = read_vectors(folder)
    mined = mine_source(source, queries, documents, read_neighbours(folder), params)
    write_jsonl(out / f"{name}.jsonl", _rows(source, mined, collector))
    audit = collector.audit()
    logger.info(
        "mined %s: %d negatives for %d queries from %d documents; %d queries got fewer than %d",
        name,
        audit.counts["negatives"],
        audit.counts["queries"],
        audit.counts["documents"],
        audit.counts["queries_with_fewer"],
        params.negatives_per_query,
    )
    return audit


def _rows(source: MiningSource, found: Iterable[MinedQuery], collector: AuditCollector) -> Iterator[dict[str, Any]]:
    """Yield the row of each training query, and count it."""
    for mined in found:
        collector.add(mined)
        negatives = mined.negatives()
        yield {
            "query_id": source.query_ids[mined.query],
            "negatives": [source.document_ids[row] for row, _ in negatives],
            "scores": [round(score, 6) for _, score in negatives],
        }
