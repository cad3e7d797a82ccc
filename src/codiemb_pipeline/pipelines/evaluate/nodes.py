"""The evaluate node."""

import logging
from pathlib import Path

from codiemb_pipeline.params import EncoderParams, EvaluateParams, TrainParams
from codiemb_pipeline.pipelines.rim import draft

logger = logging.getLogger(__name__)


def evaluate(
    params: EvaluateParams,
    encoder: EncoderParams,
    runs: dict[str, TrainParams],
    checkpoints: Path,
    merged: Path,
    sources: Path,
    work: Path,
) -> Path:
    """Evaluate base, checkpoints and merged encoders with mteb; return the folder of results."""
    from codiemb_pipeline.encoder.checkpoint import base_folder
    from codiemb_pipeline.encoder.encode import encoded
    from codiemb_pipeline.evaluate.run import evaluate_models, select_models

    out = draft(work, "evaluation")
    models = select_models(params.models, base_folder(encoder), list(runs), checkpoints, merged)
    evaluate_models(params, encoder, models, sources, work, out)
    logger.info("%s: %s", "evaluate", encoded())
    return out
