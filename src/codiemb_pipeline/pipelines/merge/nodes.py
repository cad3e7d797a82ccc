"""The merge node: composes the merge stage with dev scores."""

from pathlib import Path

from codiemb_pipeline.params import EncoderParams, MergeParams, TrainParams
from codiemb_pipeline.pipelines.rim import draft


def merge(
    params: MergeParams,
    encoder: EncoderParams,
    train: TrainParams,
    runs: dict[str, TrainParams],
    checkpoints: Path,
    model_input: Path,
    work: Path,
) -> Path:
    """Merge the checkpoints of all runs; only dev sets decide. Return the folder of merged encoders."""
    from codiemb_pipeline.encoder.checkpoint import load_encoder
    from codiemb_pipeline.launch.work_dir import remove_finished
    from codiemb_pipeline.merge.merge import merge_checkpoints
    from codiemb_pipeline.scoring.dev import score_encoder

    remove_finished(work / "train")
    out = draft(work, "merged")

    def score(folder: Path) -> float:
        return score_encoder(load_encoder(encoder, folder), model_input, tokens_per_chunk=train.chunk.tokens)["mean"]

    merge_checkpoints(params, list(runs), checkpoints, score, out)
    return out
