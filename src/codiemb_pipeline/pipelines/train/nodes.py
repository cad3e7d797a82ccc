"""The train node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codiemb_pipeline.params import EncoderParams, run_params
from codiemb_pipeline.pipelines.rim import DEFAULT_RUN, draft


def train(
    params: dict[str, Any],
    runs: dict[str, Any],
    encoder: dict[str, Any],
    parameters: dict[str, Any],
    model_input: Path,
    work: Path,
) -> tuple[Path, Path]:
    """Train one run in the processes torchrun starts, or go on with a training that was interrupted.

    Args:
        params: the ``train`` section.
        runs: the ``runs`` section.
        encoder: the ``encoder`` section.
        parameters: all parameters; ``run`` among them, given as ``--params=run=<name>``, says which run is meant.
        model_input: what ``assemble`` wrote.
        work: folder for work in progress.

    Returns:
        The finished folders of checkpoints and of training curves.
    """
    from codiemb_pipeline.train.run import train_encoder

    name = parameters.get("run", DEFAULT_RUN)
    checkpoints, curves = draft(work, f"{name}/checkpoints"), draft(work, f"{name}/training_curves")
    train_encoder(
        run_params(params, runs[name], name),
        EncoderParams.parse(encoder, "encoder"),
        model_input=model_input,
        work=work,
        checkpoints=checkpoints,
        curves=curves,
    )
    return checkpoints, curves
