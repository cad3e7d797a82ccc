"""Scoring an encoder on held-out data: exact search, nDCG, Spearman. Shared by mining, training and merging."""
