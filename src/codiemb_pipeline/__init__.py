"""CoDiEmb (arXiv 2508.11442) as a pipeline: one text encoder, good at retrieval and similarity, and the evidence."""

__version__ = "0.1.0"
