"""Stage ``train``."""

from codiemb_pipeline.pipelines.train.pipeline import create_pipeline as create_pipeline
