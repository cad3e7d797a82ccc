"""The ``runs`` section: named trainings, each the ``train`` section with its own values laid over it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codiemb_pipeline.params.train import TrainParams


def run_params(train: Mapping[str, Any], overrides: Mapping[str, Any], name: str) -> TrainParams:
    """Return the parameters of run ``name``.

    Args:
        train: the ``train`` section.
        overrides: keys of that section, as deep as needed, that this run sets otherwise.
        name: of the run, for messages.

    Raises:
        InputError: a key or value ``train`` does not take; names it as ``runs.<name>.<key>``.
    """
    return TrainParams.parse(_laid_over(train, overrides), f"runs.{name}")


def _laid_over(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` with those of ``overrides``, section by section."""
    merged = dict(values)
    for key, value in overrides.items():
        below = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        merged[key] = _laid_over(below, value) if both else value
    return merged
