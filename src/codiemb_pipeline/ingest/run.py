"""The ingest stage: each source into its folder of tables, the counts, and the rejected rows."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codiemb_pipeline.artifacts.ingest import IngestCounts, SourceCounts
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.pairs import read_pairs_source
from codiemb_pipeline.ingest.retrieval import read_retrieval_source
from codiemb_pipeline.ingest.sources import locate
from codiemb_pipeline.ingest.validation import RejectLog
from codiemb_pipeline.jsonl import write_jsonl
from codiemb_pipeline.params.ingest import IngestParams

logger = logging.getLogger(__name__)

SHOWN_FILES = 20


def ingest_sources(params: IngestParams, out: Path) -> None:
    """Read all sources into ``out``: a folder of tables each, ``counts.json`` and ``rejects.jsonl``.

    A source's folder appears when it is complete.

    Raises:
        InputError: a file cannot be used, too many of a source's rows are bad, or nothing is left of a source.
    """
    counts: dict[str, SourceCounts] = {}
    rejects: list[dict[str, Any]] = []
    for name, entry in params.sources.items():
        log = RejectLog(name)
        source = locate(name, entry)
        read = read_retrieval_source if entry.task == "ir" else read_pairs_source
        with _folder(out, name) as folder:
            found = read(source, params.seed, log, folder)
            log.check(params.tolerance)
            if not sum(found.splits.values()):
                raise InputError(f"source {name!r}: nothing is left of {log.rows} rows: {log.filtered or 'all bad'}")
        logged = {"rows": log.rows, "rejected": log.rejected, "filtered": log.filtered}
        if unread := source.unread(log.files):
            logged["unread"] = (
                *unread[:SHOWN_FILES],
                *([f"and {len(unread) - SHOWN_FILES} more"] if len(unread) > SHOWN_FILES else []),
            )
            logger.warning(
                "%s: files in its folder that were not read: %d (%s)", name, len(unread), ", ".join(logged["unread"])
            )
        origins = {"origins": source.origins} if source.origins else {}
        counts[name] = found.model_copy(update=logged | origins)
        rejects += log.rejects
        splits = ", ".join(f"{split} {count}" for split, count in found.splits.items())
        logger.info("%s: %s; %d of %d rows rejected", name, splits, log.rejected, log.rows)
    IngestCounts(sources=counts).write(out / "counts.json")
    write_jsonl(out / "rejects.jsonl", rejects)


@contextmanager
def _folder(out: Path, name: str) -> Iterator[Path]:
    """Give an empty folder that becomes ``out/name`` in one move, or is removed after an error."""
    partial = out / f".{name}.partial"  # no source's name begins with a full stop
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(out / name, ignore_errors=True)
        partial.rename(out / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
