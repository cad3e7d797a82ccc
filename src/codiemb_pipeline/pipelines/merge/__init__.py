"""Stage ``merge``."""

from codiemb_pipeline.pipelines.merge.pipeline import create_pipeline

__all__ = ["create_pipeline"]
