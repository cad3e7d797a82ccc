"""CoDiEmb (arXiv 2508.11442) as a pipeline: one text encoder, good at retrieval and similarity, and the evidence."""

from codiemb_pipeline.process_guard import die_with_dvc

__version__ = "0.1.0"

die_with_dvc()
