"""The train node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codiemb_pipeline.params import EncoderParams, TrainParams
from codiemb_pipeline.pipelines.rim import draft


def train(params: dict[str, Any], encoder: dict[str, Any], model_input: Path, work: Path) -> tuple[Path, Path]:
    """Train in the processes torchrun starts, or go on with a training that was interrupted.

    Args:
        params: the ``train`` section.
        encoder: the ``encoder`` section.
        model_input: what ``assemble`` wrote.
        work: folder for work in progress.

    Returns:
        The finished folders of checkpoints and of training curves.
    """
    from codiemb_pipeline.train.run import train_encoder

    checkpoints, curves = draft(work, "checkpoints"), draft(work, "training_curves")
    train_encoder(
        TrainParams.parse(params, "train"),
        EncoderParams.parse(encoder, "encoder"),
        model_input=model_input,
        work=work,
        checkpoints=checkpoints,
        curves=curves,
    )
    return checkpoints, curves
