"""Stage ``ingest``."""

from codiemb_pipeline.pipelines.ingest.pipeline import create_pipeline as create_pipeline
