"""The mine node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codiemb_pipeline.params import AssembleParams, EncoderParams, MineParams
from codiemb_pipeline.pipelines.rim import draft


def mine(params: dict[str, Any], encoder: dict[str, Any], assemble: dict[str, Any], sources: Path, work: Path) -> Path:
    """Mine hard negatives for the retrieval sources trained on.

    Args:
        params: the ``mine`` section.
        encoder: the ``encoder`` section.
        assemble: the ``assemble`` section, which names the sources trained on.
        sources: what ``ingest`` wrote.
        work: folder for work in progress.

    Returns:
        The finished folder of hard negatives.
    """
    from codiemb_pipeline.artifacts.ingest import task_of
    from codiemb_pipeline.mine.run import mine_hard_negatives

    out = draft(work, "hard_negatives")
    trained = AssembleParams.parse(assemble, "assemble").train_sources
    names = [name for name in trained if task_of(sources, name) == "ir"]
    mine_hard_negatives(
        MineParams.parse(params, "mine"), EncoderParams.parse(encoder, "encoder"), sources, names, out, work
    )
    return out
