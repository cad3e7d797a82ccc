"""Several checkpoints of a run become one encoder. Entry: :func:`codiemb_pipeline.merge.merge.merge_checkpoints`."""
