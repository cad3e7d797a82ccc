"""Kedro's settings: params.yaml in the root is the only parameter file, and all of it is checked before a node runs."""

from pathlib import Path
from typing import Any

from click import ClickException
from kedro.config import OmegaConfigLoader
from omegaconf import OmegaConf

from codiemb_pipeline.bundle.use import with_bundle
from codiemb_pipeline.errors import InputError, PipelineError, nearest
from codiemb_pipeline.hooks import Foresee, RecordDurations, RequireInputs
from codiemb_pipeline.locations import work_folder
from codiemb_pipeline.params import Params
from codiemb_pipeline.params.file import PARAMS_FILE, read_params
from codiemb_pipeline.params.train import laid_over

DEFAULT_RUN = "main"  # the run of a plain ``kedro run``; the same in conf/base/catalog.yml


class ParamsLoader(OmegaConfigLoader):
    """Kedro's own loader, except that ``parameters`` are the sections of :class:`Params`, parsed once per process.

    ``runs`` holds the training parameters of each run, ``run`` the name of the one that ``--params=run=<name>`` asks
    for (``None`` where none is asked for and it is not plain which), and ``values`` the whole file as written. Where
    params.yaml names a bundle, paths point into it. The file is read as DVC reads it (:mod:`params.file`), not with
    OmegaConf, which reads other values in some cases.
    """

    _parsed: dict[str, Any] | None = None

    def __getitem__(self, key: str) -> Any:
        """Return the configuration named ``key``.

        Raises:
            ClickException: a key of params.yaml is unknown, missing or wrong, whatever stage is run.
        """
        if key == "catalog":  # which names the run's folders
            run = self["parameters"]["run"] or DEFAULT_RUN
            self.runtime_params = {**(self.runtime_params or {}), "run": run}
        if key != "parameters":
            return super().__getitem__(key)
        if self._parsed is None:
            try:
                written = read_params(Path(self.conf_source).parent / PARAMS_FILE)
                self._parsed = _typed(laid_over(written, self.runtime_params or {}))
            except PipelineError as error:
                raise ClickException(str(error)) from None
        return self._parsed


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    asked = [values.pop("run")] if "run" in values else []
    values = with_bundle(values, work_folder())
    params = Params.parse(values)
    names = list(params.runs)
    obvious = (name for name in names if name == DEFAULT_RUN or len(names) == 1)
    run = _named(asked[0], names) if asked else next(obvious, None)
    sections = {name: getattr(params, name) for name in Params.model_fields}
    return {**sections, "runs": params.trainings, "run": run, "values": values}


def _named(run: Any, names: list[str]) -> str:
    """Return the name of a run that Kedro gives as the value of ``--params=run=<name>``: ``49`` as a number, ...

    Raises:
        InputError: no run has that name, or several have.
    """
    if run in names:
        return run
    found = [name for name in names if repr(OmegaConf.from_dotlist([f"run={name}"])["run"]) == repr(run)]
    if not found:
        raise InputError(f"--params=run={run}: no run of that name in params.yaml{nearest(str(run), names)}")
    if len(found) > 1:
        raise InputError(f"--params=run={run}: Kedro reads {' and '.join(found)} as one value; rename a run")
    return found[0]


CONFIG_LOADER_CLASS = ParamsLoader
CONFIG_LOADER_ARGS = {"base_env": "base", "default_run_env": "local"}
HOOKS = (RequireInputs(), Foresee(), RecordDurations())
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-viz",)  # it would write .viz/ into the project on every run
