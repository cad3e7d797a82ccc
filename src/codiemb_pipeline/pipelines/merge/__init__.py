"""Stage ``merge``."""

from codiemb_pipeline.pipelines.merge.pipeline import create_pipeline as create_pipeline
