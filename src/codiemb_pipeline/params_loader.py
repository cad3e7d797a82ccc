"""Hands Kedro params.yaml as typed sections, checked as a whole, with a bundle's paths where it names a bundle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from click import ClickException
from kedro.config import OmegaConfigLoader

from codiemb_pipeline.bundle.use import with_bundle
from codiemb_pipeline.catalog_types import WORK_VARIABLE
from codiemb_pipeline.errors import PipelineError, nearest
from codiemb_pipeline.params import Params

DEFAULT_RUN = "main"  # the run of a plain ``kedro run``; the same in conf/base/catalog.yml


class ParamsLoader(OmegaConfigLoader):
    """Kedro's own loader, but that ``parameters`` are the sections of :class:`Params`, parsed once per process.

    ``runs`` holds the training parameters of each run, ``run`` the name of the one that ``--params=run=<name>`` asks
    for, and ``values`` everything as it was written.
    """

    _parsed: dict[str, Any] | None = None

    def __getitem__(self, key: str) -> Any:
        """Return the configuration named ``key``.

        Raises:
            ClickException: a key of params.yaml is unknown, missing or wrong, whatever stage is run.
        """
        if key != "parameters":
            return super().__getitem__(key)
        if self._parsed is None:
            try:
                self._parsed = _typed(super().__getitem__(key))
            except PipelineError as error:
                raise ClickException(str(error)) from None
        return self._parsed


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    values = with_bundle(values, Path(os.environ.get(WORK_VARIABLE) or "data/.work"))
    run = values.pop("run", DEFAULT_RUN)
    params = Params.parse(values)
    if run not in params.runs:
        raise ClickException(f"--params=run={run}: no run of that name in params.yaml{nearest(str(run), params.runs)}")
    sections = {name: getattr(params, name) for name in Params.model_fields}
    return {**sections, "runs": params.trainings, "run": run, "values": values}
