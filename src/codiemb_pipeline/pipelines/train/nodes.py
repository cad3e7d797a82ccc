"""The train node."""

from pathlib import Path

from codiemb_pipeline.params import EncoderParams, EvaluateParams, TrainParams
from codiemb_pipeline.pipelines.rim import draft


def train(
    runs: dict[str, TrainParams],
    run: str,
    encoder: EncoderParams,
    evaluate: EvaluateParams,
    model_input: Path,
    work: Path,
) -> tuple[Path, Path]:
    """Train the run named ``run`` in the processes torchrun starts, or resume it after an interruption.

    Returns:
        The folders of checkpoints and of training curves.
    """
    from codiemb_pipeline.train.run import train_encoder

    checkpoints, curves = draft(work, f"{run}/checkpoints"), draft(work, f"{run}/training_curves")
    places = {"model_input": model_input, "work": work, "checkpoints": checkpoints, "curves": curves}
    train_encoder(runs[run], encoder, **places, run=run, store_gigabytes=evaluate.store_gigabytes)
    return checkpoints, curves
