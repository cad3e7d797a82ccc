"""Stage ``report``."""

from codiemb_pipeline.pipelines.report.pipeline import create_pipeline

__all__ = ["create_pipeline"]
