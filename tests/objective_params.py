"""The objectives of the committed params.yaml with some keys set otherwise, for tests of single steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from codiemb_pipeline.params.objectives import IRParams, STSParams

TRAIN = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())["train"]
NO_PARTS = {"pearson": 0, "rank_kl": 0, "pro": 0, "cosent": 0, "cosine": 0}


def ir_params(**changes: Any) -> IRParams:
    """Return the retrieval objective."""
    return IRParams.parse({**TRAIN["ir"], **changes}, "ir")


def sts_params(*, mid_layer: dict[str, Any] | None = None, **changes: Any) -> STSParams:
    """Return the similarity objective."""
    values = {**TRAIN["sts"], **changes}
    values["mid_layer"] = {**TRAIN["sts"]["mid_layer"], **(mid_layer or {})}
    return STSParams.parse(values, "sts")
