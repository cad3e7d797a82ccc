"""The assemble node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codiemb_pipeline.params import AssembleParams, EncoderParams
from codiemb_pipeline.pipelines.rim import draft


def assemble(params: dict[str, Any], encoder: dict[str, Any], sources: Path, hard_negatives: Path, work: Path) -> Path:
    """Make unified records of both tasks and tokenise them once.

    Args:
        params: the ``assemble`` section.
        encoder: the ``encoder`` section.
        sources: what ``ingest`` wrote.
        hard_negatives: what ``mine`` wrote.
        work: folder for work in progress.

    Returns:
        The finished folder of model input.
    """
    from codiemb_pipeline.assemble.run import assemble as assemble_examples

    out = draft(work, "model_input")
    encoder_params = EncoderParams.parse(encoder, "encoder")
    assemble_examples(AssembleParams.parse(params, "assemble"), encoder_params, sources, hard_negatives, out)
    return out
