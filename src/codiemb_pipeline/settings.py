"""Kedro's settings: params.yaml in the root is the only parameter file, and all of it is checked before a node runs."""

from __future__ import annotations

from codiemb_pipeline.hooks import RecordDurations, RequireInputs
from codiemb_pipeline.params_loader import ParamsLoader

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
