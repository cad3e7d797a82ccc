"""The ``evaluate`` section of a test: what it does not name is small, exact and in this process."""

from collections.abc import Mapping
from typing import Any

from codiemb_pipeline.params import EvaluateParams


def evaluate_params(benchmarks: Mapping[str, Any], **changes: Any) -> EvaluateParams:
    values = {"models": ["base"], "tokens_per_chunk": 512, "precision": "fp32", "processes": 1, "geometry": None}
    values["store_gigabytes"] = 0.0
    return EvaluateParams.parse({**values, "benchmarks": benchmarks, **changes}, "evaluate")
