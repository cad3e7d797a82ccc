"""The merge node: composes the merge stage with dev scores."""

import logging
from pathlib import Path

from codiemb_pipeline.params import EncoderParams, EvaluateParams, MergeParams, TrainParams
from codiemb_pipeline.pipelines.rim import draft

logger = logging.getLogger(__name__)


def merge(
    params: MergeParams,
    encoder: EncoderParams,
    train: TrainParams,
    evaluate: EvaluateParams,
    runs: dict[str, TrainParams],
    checkpoints: Path,
    model_input: Path,
    work: Path,
) -> Path:
    """Merge the checkpoints of all runs; only dev sets decide. Return the folder of merged encoders."""
    from codiemb_pipeline.encoder.embedding_store import embeddings_folder
    from codiemb_pipeline.encoder.encode import encoded
    from codiemb_pipeline.launch.work_dir import remove_finished
    from codiemb_pipeline.merge.merge import merge_checkpoints
    from codiemb_pipeline.scoring.dev import folder_scorer

    remove_finished(work / "train")
    out = draft(work, "merged")

    options = {"embeddings": embeddings_folder(work), "store_gigabytes": evaluate.store_gigabytes}
    score = folder_scorer(encoder, model_input, tokens_per_chunk=train.chunk.tokens, **options)
    merge_checkpoints(params, list(runs), checkpoints, score, out)
    logger.info("%s: %s", "merge", encoded())
    return out
