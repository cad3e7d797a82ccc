"""Stage ``assemble``."""

from codiemb_pipeline.pipelines.assemble.pipeline import create_pipeline

__all__ = ["create_pipeline"]
