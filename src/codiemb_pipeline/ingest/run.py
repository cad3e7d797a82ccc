"""The ingest stage: every source to its folder of tables, the counts, and the rows that were set aside."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.origin import locate, resolved
from codiemb_pipeline.ingest.pairs import read_pairs_source
from codiemb_pipeline.ingest.retrieval import read_retrieval_source
from codiemb_pipeline.ingest.rows import Ledger
from codiemb_pipeline.jsonl import write_json, write_jsonl
from codiemb_pipeline.params.ingest import IngestParams
from codiemb_pipeline.schema import SPLITS

logger = logging.getLogger(__name__)


def ingest_sources(params: IngestParams, out: Path) -> None:
    """Read all sources. A source's folder appears when it is whole.

    Args:
        params: the ``ingest`` section.
        out: receives a folder of tables per source, ``counts.json`` and ``rejects.jsonl``.

    Raises:
        InputError: a file can't be used, too many of a source's rows are bad, or nothing is left of a source.
    """
    counts: dict[str, Any] = {}
    rejects: list[dict[str, Any]] = []
    for name, source in params.sources.items():  # contradictions show before hours of reading
        resolved(name, source)
    for name, source_params in params.sources.items():
        ledger = Ledger(name)
        source, path = locate(name, source_params)
        read = read_retrieval_source if source.task == "ir" else read_pairs_source
        with _folder(out, name) as folder:
            found = read(source, path, params.seed, ledger, folder)
            ledger.check(params.tolerance)
            counts[name] = _counts(found, source.task, ledger)
            if not sum(counts[name]["splits"].values()):
                why = ledger.left_out or "all bad"
                raise InputError(f"source {name!r}: nothing is left of {ledger.rows} rows: {why}")
        rejects += ledger.rejects
        splits = ", ".join(f"{split} {count}" for split, count in counts[name]["splits"].items())
        logger.info("%s: %s; %d of %d rows rejected", name, splits, ledger.rejected, ledger.rows)
    write_json(out / "counts.json", {"sources": counts})
    write_jsonl(out / "rejects.jsonl", rejects)


@contextmanager
def _folder(out: Path, name: str) -> Iterator[Path]:
    """Give an empty folder that becomes ``out/name`` in one move, or is gone after an error."""
    partial = out / f".{name}.partial"  # no source's name begins with a full stop
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(out / name, ignore_errors=True)
        partial.rename(out / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _counts(found: dict[str, Any], task: str, ledger: Ledger) -> dict[str, Any]:
    """Return what the report shows of a source; ``splits`` counts queries or pairs."""
    return {
        **found,
        "task": task,
        "rows": ledger.rows,
        "rejected": ledger.rejected,
        "left_out": dict(sorted(ledger.left_out.items())),
        "splits": {split: int(found["splits"].get(split, 0)) for split in SPLITS},
    }
