"""Kedro's settings: params.yaml in the root is the only parameter file, and all of it is checked before a node runs."""

from typing import Any

from click import ClickException
from kedro.config import OmegaConfigLoader

from codiemb_pipeline.bundle.use import with_bundle
from codiemb_pipeline.errors import PipelineError, nearest
from codiemb_pipeline.hooks import RecordDurations, RequireInputs
from codiemb_pipeline.locations import work_folder
from codiemb_pipeline.params import Params

DEFAULT_RUN = "main"  # the run of a plain ``kedro run``; the same in conf/base/catalog.yml


class ParamsLoader(OmegaConfigLoader):
    """Kedro's own loader, except that ``parameters`` are the sections of :class:`Params`, parsed once per process.

    ``runs`` holds the training parameters of each run, ``run`` the name of the one that ``--params=run=<name>`` asks
    for, and ``values`` the whole file as written. Where params.yaml names a bundle, paths point into it.
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
    values = with_bundle(values, work_folder())
    run = values.pop("run", DEFAULT_RUN)
    params = Params.parse(values)
    if run not in params.runs:
        raise ClickException(f"--params=run={run}: no run of that name in params.yaml{nearest(str(run), params.runs)}")
    sections = {name: getattr(params, name) for name in Params.model_fields}
    return {**sections, "runs": params.trainings, "run": run, "values": values}


CONFIG_LOADER_CLASS = ParamsLoader
# `ignore_hidden: False`: a file outside conf/ counts as hidden wherever a folder above it begins with a dot, as in the
# workspaces of `dvc exp run --queue` below .dvc/tmp; Kedro would then run with no parameters at all, with a warning.
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"parameters": ["../../params.yaml"]},
    "ignore_hidden": False,
}
HOOKS = (RequireInputs(), RecordDurations())
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-viz",)  # it would write .viz/ into the project on every run
