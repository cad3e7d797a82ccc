"""Stage ``evaluate``."""

from codiemb_pipeline.pipelines.evaluate.pipeline import create_pipeline as create_pipeline
