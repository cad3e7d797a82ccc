"""The parameters that tests start from, whatever params.yaml holds."""

import copy
from pathlib import Path
from typing import Any

from codiemb_pipeline.params.file import read_params

PARAMS_FILE = Path(__file__).parent / "params.yaml"
_VALUES = read_params(PARAMS_FILE)


def params() -> dict[str, Any]:
    """Return all of them, a copy of one's own."""
    return copy.deepcopy(_VALUES)
