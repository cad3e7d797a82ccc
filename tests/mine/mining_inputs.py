"""Parameters for the tests of mining."""

import frozen_params

from codiemb_pipeline.params import MineParams


def make_params(**changes) -> MineParams:
    """Return parameters with a window from rank 1 and no margins, unless changed."""
    values = {"rank_from": 1, "absolute_margin": None, "relative_margin": None, "processes": 1, "audit_samples": 2}
    return MineParams.parse(frozen_params.params()["mine"] | values | changes, "mine")
