"""Stage ``assemble``."""

from codiemb_pipeline.pipelines.assemble.pipeline import create_pipeline as create_pipeline
