"""The ingest stage: every source to its folder of tables, the counts, and the rows that were set aside."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.pairs import read_pairs_source
from codiemb_pipeline.ingest.retrieval import read_retrieval_source
from codiemb_pipeline.ingest.rows import Ledger
from codiemb_pipeline.jsonl import write_json, write_jsonl
from codiemb_pipeline.locations import resolve
from codiemb_pipeline.params.ingest import IngestParams, SourceParams
from codiemb_pipeline.schema import SPLITS
from codiemb_pipeline.source_tables import PairTables, RetrievalTables

logger = logging.getLogger(__name__)


def ingest_sources(params: IngestParams, out: Path) -> None:
    """Read all sources.

    Args:
        params: the ``ingest`` section.
        out: receives a folder of tables per source, ``counts.json`` and ``rejects.jsonl``.

    Raises:
        InputError: a file can't be used, too many of a source's rows are bad, or nothing is left of a source.
    """
    counts: dict[str, Any] = {}
    rejects: list[dict[str, Any]] = []
    for name, source in params.sources.items():
        ledger = Ledger(name)
        path = resolve(source.path, field=f"ingest.sources.{name}.path")
        read = read_retrieval_source if source.task == "ir" else read_pairs_source
        tables = read(source, path, params.seed, ledger)
        ledger.check(params.tolerance)
        counts[name] = _counts(tables, source, ledger)
        if not sum(counts[name]["splits"].values()):
            raise InputError(f"source {name!r}: nothing is left of {ledger.rows} rows: {ledger.left_out or 'all bad'}")
        tables.write(out / name)
        rejects += ledger.rejects
        splits = ", ".join(f"{split} {count}" for split, count in counts[name]["splits"].items())
        logger.info("%s: %s; %d of %d rows rejected", name, splits, len(ledger.rejects), ledger.rows)
    write_json(out / "counts.json", {"sources": counts})
    write_jsonl(out / "rejects.jsonl", rejects)


def _counts(tables: RetrievalTables | PairTables, source: SourceParams, ledger: Ledger) -> dict[str, Any]:
    """Return what the report shows of a source; ``splits`` counts queries or pairs."""
    rows = tables.queries if isinstance(tables, RetrievalTables) else tables.pairs
    counts = {
        "task": source.task,
        "rows": ledger.rows,
        "rejected": len(ledger.rejects),
        "left_out": dict(sorted(ledger.left_out.items())),
        "splits": {split: int((rows["split"] == split).sum()) for split in SPLITS},
    }
    if isinstance(tables, RetrievalTables):
        counts |= {"documents": len(tables.corpus), "judgements": len(tables.qrels)}
    return counts
