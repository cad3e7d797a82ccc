"""Hands Kedro params.yaml as the stages are to see it: with a bundle's paths where it names a bundle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader

from codiemb_pipeline.bundle.use import with_bundle
from codiemb_pipeline.catalog_types import WORK_VARIABLE


class ParamsLoader(OmegaConfigLoader):
    """Kedro's own loader, but for ``bundle``."""

    def __getitem__(self, key: str) -> Any:
        """Return the configuration named ``key``."""
        values = super().__getitem__(key)
        if key != "parameters":
            return values
        return with_bundle(values, Path(os.environ.get(WORK_VARIABLE) or "data/.work"))
