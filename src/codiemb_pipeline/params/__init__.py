"""params.yaml as one checked object: a section per stage, plus ``bundle``, ``encoder`` and ``runs``."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, PrivateAttr

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.assemble import AssembleParams
from codiemb_pipeline.params.base import DISTINCT, FileName, Location, Section
from codiemb_pipeline.params.checks import disagreements
from codiemb_pipeline.params.encoder import EncoderParams
from codiemb_pipeline.params.evaluate import EvaluateParams
from codiemb_pipeline.params.ingest import IngestParams
from codiemb_pipeline.params.merge import MergeParams
from codiemb_pipeline.params.mine import MineParams
from codiemb_pipeline.params.report import ReportParams
from codiemb_pipeline.params.train import TrainParams, run_params

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
    "run_params",
]

RunName = Annotated[FileName, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class Params(Section):
    """All of params.yaml, in the order of the stages.

    ``bundle`` is a folder (``make bundle``) that replaces the locations of encoder, sources and benchmarks. ``runs``
    names the trainings, each a stage of its own, with the keys of ``train`` that it overrides.
    """

    bundle: Location | None
    encoder: EncoderParams
    ingest: IngestParams
    mine: MineParams
    assemble: AssembleParams
    train: TrainParams
    runs: Annotated[dict[RunName, dict[str, Any]], DISTINCT] = Field(min_length=1)
    merge: MergeParams
    evaluate: EvaluateParams
    report: ReportParams

    _trainings: dict[str, TrainParams] = PrivateAttr(default_factory=dict)

    @classmethod
    def parse(cls, values: Mapping[str, Any], name: str = "") -> Self:
        """Check all of params.yaml: each section, the runs, and whether they agree.

        Raises:
            InputError: one line per fault.
        """
        parsed = super().parse(values, name)
        for run, overrides in parsed.runs.items():
            parsed._trainings[run] = run_params(values["train"], overrides, run)
        if faults := list(disagreements(parsed)):
            raise InputError("\n".join(f"params.yaml: {fault}" for fault in faults))
        return parsed

    @property
    def trainings(self) -> dict[str, TrainParams]:
        """The parameters of each run, by its name."""
        return self._trainings
