"""The frozen objectives with some keys set otherwise, for tests of single steps."""

from typing import Any

import frozen_params
from torch import Tensor

from codiemb_pipeline.losses.info_nce import info_nce_sum
from codiemb_pipeline.params.objectives import IRParams, STSParams
from codiemb_pipeline.params.train import SamplerParams

TRAIN = frozen_params.params()["train"]


def ir_params(**changes: Any) -> IRParams:
    """Return the retrieval objective."""
    return IRParams.parse({**TRAIN["ir"], **changes}, "ir")


def sts_params(*, cross_device: bool = False, **parts: dict[str, Any]) -> STSParams:
    """Return the similarity objective of ``parts``, or the frozen one without any; settings come from there."""
    known = TRAIN["sts"]["parts"]
    chosen = {name: {**known.get(name, {}), **settings} for name, settings in parts.items()} or known
    return STSParams.parse({"parts": chosen, "cross_device": cross_device}, "sts")


def sampler_params(**changes: Any) -> SamplerParams:
    """Return a sampler that takes the sources as they are, with some keys set otherwise."""
    plain = {
        "mode": "dynamic",
        "steps_per_task": None,
        "source_weights": None,
        "size_temperature": 1.0,
        "repeat": False,
    }
    return SamplerParams.parse({**plain, **changes}, "sampler")


def info_nce(*operands: Tensor | None, **options: Any) -> Tensor:
    """Return the mean InfoNCE over the queries that have a positive."""
    total, count = info_nce_sum(*operands, **options)
    return total / count.clamp(min=1)
