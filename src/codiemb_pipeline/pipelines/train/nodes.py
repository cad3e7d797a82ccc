"""The train node."""

from __future__ import annotations

from pathlib import Path

from codiemb_pipeline.params import EncoderParams, TrainParams
from codiemb_pipeline.pipelines.rim import draft


def train(
    runs: dict[str, TrainParams],
    run: str,
    encoder: EncoderParams,
    model_input: Path,
    work: Path,
) -> tuple[Path, Path]:
    """Train one run in the processes torchrun starts, or go on with a training that was interrupted.

    Args:
        runs: the parameters of each run.
        run: name of the run that is meant.
        encoder: the ``encoder`` section.
        model_input: what ``assemble`` wrote.
        work: folder for work in progress.

    Returns:
        The finished folders of checkpoints and of training curves.
    """
    from codiemb_pipeline.train.run import train_encoder

    checkpoints, curves = draft(work, f"{run}/checkpoints"), draft(work, f"{run}/training_curves")
    train_encoder(runs[run], encoder, model_input=model_input, work=work, checkpoints=checkpoints, curves=curves)
    return checkpoints, curves
