"""The mine node."""

import logging
from pathlib import Path

from codiemb_pipeline.params import AssembleParams, EncoderParams, EvaluateParams, MineParams
from codiemb_pipeline.pipelines.rim import draft

logger = logging.getLogger(__name__)


def mine(
    params: MineParams,
    encoder: EncoderParams,
    assemble: AssembleParams,
    evaluate: EvaluateParams,
    sources: Path,
    work: Path,
) -> Path:
    """Mine hard negatives for the retrieval sources that are trained on; return their folder."""
    from codiemb_pipeline.artifacts.ingest import task_of
    from codiemb_pipeline.encoder.encode import encoded
    from codiemb_pipeline.mine.run import mine_hard_negatives

    out = draft(work, "hard_negatives")
    names = [name for name in assemble.train_sources if task_of(sources, name) == "ir"]
    mine_hard_negatives(params, encoder, sources, names, out, work, evaluate.store_gigabytes)
    logger.info("%s: %s", "mine", encoded())
    return out
