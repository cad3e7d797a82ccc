"""Which checkpoints may be merged: those that the runs' ``run.json`` list, and those that a recipe takes.

Knows nothing of tensors or methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codiemb_pipeline.encoder.checkpoint import weights_digest
from codiemb_pipeline.errors import InputError, nearest
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params.merge import Recipe

AT_LEAST = {"model_stock": 2, "slerp": 2}
AT_MOST = {"slerp": 2}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A checkpoint that may be merged: ``<run>/<checkpoint>``, its step, held-out score and the hash of its weights."""

    run: str
    name: str
    step: int
    dev: float
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {"name": self.name, "run": self.run, "step": self.step, "dev": round(self.dev, 6), "sha256": self.sha256}


def read_candidates(
    checkpoints: Path, runs: Sequence[str], skip_first: int, base: Path, base_sha256: str
) -> list[Candidate]:
    """Return the checkpoints of all runs, by run in the order given, then by step.

    Args:
        checkpoints: holds a folder per run, as ``train`` wrote it.
        runs: names of the runs.
        skip_first: how many of the earliest checkpoints of every run are left out.
        base: folder of the weights before fine-tuning, for messages.
        base_sha256: its hash, which every run must have started from.

    Raises:
        InputError: a run started from other weights, has no checkpoint left, or an entry lacks a field.
    """
    found: list[Candidate] = []
    for run in runs:
        file = checkpoints / run / "run.json"
        described = read_json(file)
        _check_base(file, described, base, base_sha256)
        entries = described.get("checkpoints") or []
        _check_fields(file, entries)
        kept = sorted(entries, key=lambda entry: (entry["step"], entry["name"]))[skip_first:]
        if not kept:
            raise InputError(
                f"params.yaml: merge.skip_first: {skip_first} of {len(entries)} checkpoints in {file} are skipped; "
                f"expected one candidate at least"
            )
        found += [_candidate(checkpoints, run, entry) for entry in kept]
    return found


def select(candidates: Sequence[Candidate], recipe: Recipe, name: str) -> list[Candidate]:
    """Return the candidates that ``recipe``, called ``name``, takes: by run in its order, then by step.

    Raises:
        InputError: it names an unknown run, or its method can't merge as many candidates.
    """
    by_run: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_run.setdefault(candidate.run, []).append(candidate)
    chosen: list[Candidate] = []
    for run in by_run if recipe.runs is None else recipe.runs:
        if run not in by_run:
            raise InputError(f"params.yaml: merge.recipes.{name}.runs: no run {run!r}{nearest(run, by_run)}")
        chosen += by_run[run][-1:] if recipe.last_only else by_run[run]
    least, most = AT_LEAST.get(recipe.method, 1), AT_MOST.get(recipe.method, len(chosen))
    if not least <= len(chosen) <= most:
        wanted = f"exactly {least}" if recipe.method in AT_MOST else f"at least {least}"
        raise InputError(
            f"params.yaml: merge.recipes.{name}: method {recipe.method} merges {wanted} candidates, found "
            f"{len(chosen)}: {', '.join(candidate.name for candidate in chosen)}; runs and last_only choose them"
        )
    return chosen


def _candidate(checkpoints: Path, run: str, entry: Mapping[str, Any]) -> Candidate:
    name = f"{run}/{entry['name']}"
    return Candidate(
        run=run, name=name, step=entry["step"], dev=_dev_mean(entry), sha256=weights_digest(checkpoints / name)
    )


def _check_base(file: Path, described: Mapping[str, Any], base: Path, base_sha256: str) -> None:
    started_from = described.get("base")
    if started_from is None:
        raise InputError(f"{file}: expected a field 'base', the hash of the weights that training started from")
    if started_from != base_sha256:
        raise InputError(
            f"{file}: the run started from weights with hash {started_from}, but base {base} has {base_sha256}; "
            f"moves from different weights can't be merged: train this run again, or restore encoder.path"
        )


def _check_fields(file: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    for number, entry in enumerate(entries):
        for name, value in (("name", entry.get("name")), ("step", entry.get("step")), ("dev.mean", _dev_mean(entry))):
            if value is None:
                raise InputError(f"{file}: checkpoints[{number}]: expected a field {name!r}, found none")


def _dev_mean(entry: Mapping[str, Any]) -> Any:
    return (entry.get("dev") or {}).get("mean")
