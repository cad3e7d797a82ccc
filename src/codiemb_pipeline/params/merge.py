"""The ``merge`` section: how checkpoints become one encoder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from codiemb_pipeline.params.base import Section

MergeMethod = Literal["uniform", "greedy", "delta_guided"]
MERGE_METHODS: tuple[MergeMethod, ...] = ("uniform", "greedy", "delta_guided")


class DeltaGuidedParams(Section):
    """Delta-guided fusion, our reading of the paper's section 2.4 (docs/method.md).

    Attributes:
        granularity: what one weight is for: every ``element``, ``tensor`` or ``layer``, or the whole ``model``.
        norm: how far a part moved from base: ``l1``, ``l2`` or ``max`` (for ``element`` all are the absolute value).
        weighting: ``proportional`` to that norm, ``inverse``, or ``softmax`` of it.
        tau: temperature of ``softmax``, in units of the mean norm of the candidates; negative favours small moves.
    """

    granularity: Literal["element", "tensor", "layer", "model"]
    norm: Literal["l1", "l2", "max"]
    weighting: Literal["proportional", "inverse", "softmax"]
    tau: float

    @field_validator("tau")
    @classmethod
    def _not_zero(cls, tau: float) -> float:
        if tau == 0.0:
            raise ValueError("tau must not be 0")
        return tau


class MergeParams(Section):
    """Merging of a run's checkpoints.

    Attributes:
        methods: which merged encoders are made.
        skip_first: how many of the earliest checkpoints are no candidates.
        delta_guided: settings of that method.
    """

    methods: list[MergeMethod] = Field(min_length=1)
    skip_first: int = Field(ge=0)
    delta_guided: DeltaGuidedParams
