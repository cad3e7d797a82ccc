"""The audit over the benchmarks of params.yaml. Compares nothing itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from codiemb_pipeline.assemble.audit import Audit
from codiemb_pipeline.benchmarks.texts import BenchmarkText, benchmark_texts
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.params.assemble import AuditParams
from codiemb_pipeline.params.evaluate import Benchmark, LocalRetrieval


def open_audit(params: AuditParams, benchmarks: Mapping[str, Benchmark], sources: Path) -> Audit | None:
    """Return the audit against all ``benchmarks``; ``None`` if it is off, and then no benchmark is read.

    Args:
        params: the ``assemble.audit`` section.
        benchmarks: ``evaluate.benchmarks``, by name.
        sources: the folder ``ingest`` wrote, for benchmarks made of a source's own split.

    Raises:
        InputError: a benchmark cannot be read; names it.
    """
    if params.mode == "off":
        return None
    corpora = {name: entry.source for name, entry in benchmarks.items() if isinstance(entry, LocalRetrieval)}

    def texts() -> Iterator[tuple[str, BenchmarkText]]:
        for name, entry in benchmarks.items():
            yield from ((name, text) for text in benchmark_texts(name, entry, sources))

    return Audit(params, texts(), corpora)


def write_contamination(audit: Audit | None, path: Path) -> Path:
    """Write what the audit found, or that there was none, as JSON into ``path``, and return that."""
    write_json(path, audit.report() if audit else {"mode": "off"})
    return path
