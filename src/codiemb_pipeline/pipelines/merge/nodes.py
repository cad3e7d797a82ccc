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
    from codiemb_pipeline.encoder.checkpoint import load_encoder
    from codiemb_pipeline.encoder.embedding_store import embeddings_folder, open_store
    from codiemb_pipeline.encoder.encode import encoded
    from codiemb_pipeline.launch.work_dir import remove_finished
    from codiemb_pipeline.merge.merge import merge_checkpoints
    from codiemb_pipeline.scoring.dev import score_encoder

    remove_finished(work / "train")
    out = draft(work, "merged")

    def score(folder: Path) -> float:
        loaded = load_encoder(encoder, folder)
        known = open_store(loaded, embeddings_folder(work), evaluate.store_gigabytes)
        return score_encoder(loaded, model_input, tokens_per_chunk=train.chunk.tokens, known=known)["mean"]

    merge_checkpoints(params, list(runs), checkpoints, score, out)
    logger.info("%s: %s", "merge", encoded())
    return out
