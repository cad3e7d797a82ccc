"""params.yaml as one checked object: a section per stage, plus ``encoder``."""

from __future__ import annotations

from codiemb_pipeline.params.assemble import AssembleParams
from codiemb_pipeline.params.base import Section
from codiemb_pipeline.params.encoder import EncoderParams
from codiemb_pipeline.params.evaluate import EvaluateParams
from codiemb_pipeline.params.ingest import IngestParams
from codiemb_pipeline.params.merge import MergeParams
from codiemb_pipeline.params.mine import MineParams
from codiemb_pipeline.params.report import ReportParams
from codiemb_pipeline.params.train import TrainParams

__all__ = [
    "AssembleParams",
    "EncoderParams",
    "EvaluateParams",
    "IngestParams",
    "MergeParams",
    "MineParams",
    "Params",
    "ReportParams",
    "TrainParams",
]


class Params(Section):
    """All of params.yaml, in the order of the stages."""

    encoder: EncoderParams
    ingest: IngestParams
    mine: MineParams
    assemble: AssembleParams
    train: TrainParams
    merge: MergeParams
    evaluate: EvaluateParams
    report: ReportParams
