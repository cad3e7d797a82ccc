"""Stage ``mine``."""

from codiemb_pipeline.pipelines.mine.pipeline import create_pipeline as create_pipeline
