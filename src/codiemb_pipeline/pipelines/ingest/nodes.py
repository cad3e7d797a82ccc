"""The ingest node."""

from pathlib import Path

from codiemb_pipeline.params import IngestParams
from codiemb_pipeline.pipelines.rim import draft


def ingest(params: IngestParams, work: Path) -> Path:
    """Read the sources into normalised tables; return their folder."""
    from codiemb_pipeline.ingest.run import ingest_sources

    out = draft(work, "sources")
    ingest_sources(params, out)
    return out
