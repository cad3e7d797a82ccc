"""The stage: encodes queries and corpus of each source, mines, writes hard negatives and the audit.

    <source>.jsonl   {"query_id", "negatives": [doc_id], "scores": [cosine]}, a line per training query in their order
    audit.json       {"sources": {<source>: see mine.audit}}
    made_under.json  what the similarities depend on beside the texts (encoder.stamp); absent when nothing was mined

The embeddings of one source at a time are held whole (4 · D bytes per text); everything else goes block by block.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codiemb_pipeline.encoder.checkpoint import base_folder, load_encoder, weights_digest
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.encoder.stamp import MADE_UNDER, made_under
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.jsonl import write_json, write_jsonl
from codiemb_pipeline.mine.audit import Audit
from codiemb_pipeline.mine.judgements import MiningSource, check_minable, read_judgements
from codiemb_pipeline.mine.mining import mine_source
from codiemb_pipeline.params.encoder import EncoderParams
from codiemb_pipeline.params.mine import MineParams
from codiemb_pipeline.source_tables import read_retrieval

logger = logging.getLogger(__name__)


def mine_hard_negatives(
    params: MineParams, encoder_params: EncoderParams, sources: Path, names: list[str], out: Path
) -> None:
    """Mine hard negatives for the training queries of retrieval sources, with the base encoder.

    Args:
        params: the ``mine`` section.
        encoder_params: the ``encoder`` section.
        sources: the folder ``ingest`` wrote.
        names: retrieval sources to mine; none is allowed, and leaves an empty audit.
        out: folder to write into.

    Raises:
        InputError: a source does not exist, is no retrieval source, has no training queries, or its tables disagree.
    """
    for name in names:  # before the first is encoded, which may take hours
        check_minable(read_retrieval(sources, name), name)
    audits: dict[str, Any] = {}
    encoder = load_encoder(encoder_params) if names else None
    for name in names:
        source = read_judgements(read_retrieval(sources, name), name)
        audit = Audit(source, params)
        write_jsonl(out / f"{source.name}.jsonl", _rows(source, encoder, params, audit))
        audits[source.name] = audit.to_dict()
        counts = audits[source.name]["counts"]
        logger.info(
            "mined %s: %d negatives for %d queries from %d documents; %d queries got fewer than %d",
            source.name,
            counts["negatives"],
            counts["queries"],
            counts["documents"],
            counts["queries_with_fewer"],
            params.negatives_per_query,
        )
    write_json(out / "audit.json", {"sources": audits})
    if encoder is not None:
        write_json(out / MADE_UNDER, made_under(encoder.tokenizer, weights_digest(base_folder(encoder_params))))


def _rows(source: MiningSource, encoder: Encoder, params: MineParams, audit: Audit) -> Iterator[dict[str, Any]]:
    """Yield the row of each training query, and count it in ``audit``."""

    def encode(texts: list[str], role: str) -> Any:
        prefix = encoder.prompts.prefix("ir", role, source.name)
        label = f"encode {source.name} {role}s"
        return encode_texts(encoder, texts, prefix=prefix, tokens_per_chunk=params.tokens_per_chunk, progress=label)

    queries, documents = encode(source.query_texts, "query"), encode(source.document_texts, "document")
    for mined in mine_source(source, queries, documents, params, device=encoder.device):
        audit.add(mined)
        negatives = mined.negatives()
        yield {
            "query_id": source.query_ids[mined.query],
            "negatives": [source.document_ids[row] for row, _ in negatives],
            "scores": [round(score, 6) for _, score in negatives],
        }
