"""The evaluate node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codiemb_pipeline.params import EncoderParams, EvaluateParams
from codiemb_pipeline.pipelines.rim import draft


def evaluate(
    params: dict[str, Any],
    encoder: dict[str, Any],
    runs: dict[str, Any],
    checkpoints: Path,
    merged: Path,
    sources: Path,
    work: Path,
) -> Path:
    """Judge base, checkpoints and merged encoders with mteb.

    Args:
        params: the ``evaluate`` section.
        encoder: the ``encoder`` section.
        runs: the ``runs`` section, for the names.
        checkpoints: what ``train`` wrote.
        merged: what ``merge`` wrote.
        sources: what ``ingest`` wrote; holds the test splits.
        work: folder for work in progress; keeps finished results.

    Returns:
        The finished folder of results.
    """
    from codiemb_pipeline.encoder.checkpoint import base_folder
    from codiemb_pipeline.evaluate.run import evaluate_models, select_models

    out = draft(work, "evaluation")
    values, encoder_params = EvaluateParams.parse(params, "evaluate"), EncoderParams.parse(encoder, "encoder")
    models = select_models(values.models, base_folder(encoder_params), list(runs), checkpoints, merged)
    evaluate_models(values, encoder_params, models, sources, work, out)
    return out
