"""Stage ``report``."""

from codiemb_pipeline.pipelines.report.pipeline import create_pipeline as create_pipeline
