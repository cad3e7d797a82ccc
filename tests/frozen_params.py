"""The parameters that tests start from, whatever params.yaml holds."""

import copy
from pathlib import Path
from typing import Any

import yaml

PARAMS_FILE = Path(__file__).parent / "params.yaml"
_VALUES = yaml.safe_load(PARAMS_FILE.read_text(encoding="utf-8"))


def params() -> dict[str, Any]:
    """Return all of them, a copy of one's own."""
    return copy.deepcopy(_VALUES)
