"""Which checkpoints may be merged: those that the runs' ``run.json`` list, and those that a recipe takes."""

from collections.abc import Sequence
from pathlib import Path

from codiemb_pipeline.artifacts.merge import Candidate
from codiemb_pipeline.artifacts.train import TrainedRun
from codiemb_pipeline.encoder.checkpoint import weights_digest
from codiemb_pipeline.errors import InputError, nearest
from codiemb_pipeline.params.merge import Recipe


def read_base(checkpoints: Path, runs: Sequence[str]) -> tuple[Path, str]:
    """Return the base's folder, which is checkpoint 0 of the first run, and the hash of the weights it was made from.

    A part that the base lacked (a pooler, a projection) is the first run's; each run draws it from its own seed.

    Raises:
        InputError: a run started from other weights; moves from different weights can't be merged.
    """
    described = {run: TrainedRun.of(checkpoints / run) for run in runs}
    first = described[runs[0]]
    for run, found in described.items():
        if found.base_sha256 != first.base_sha256:
            raise InputError(
                f"{checkpoints / run / 'run.json'}: the run started from weights with hash {found.base_sha256}, run "
                f"{runs[0]} from {first.base_sha256}; moves from different weights can't be merged: train one again"
            )
    return checkpoints / runs[0] / first.base.name, first.base_sha256


def read_candidates(checkpoints: Path, runs: Sequence[str], skip_first: int) -> list[Candidate]:
    """Return the checkpoints of all runs, by run in the order given, then by step.

    Args:
        checkpoints: holds a folder per run, as ``train`` wrote it.
        runs: names of the runs.
        skip_first: how many of the earliest checkpoints of every run are left out; checkpoint 0 is never a candidate.

    Raises:
        InputError: a run has no checkpoint left, or one without a mean dev score.
    """
    found: list[Candidate] = []
    for run in runs:
        file, entries = checkpoints / run / "run.json", TrainedRun.of(checkpoints / run).checkpoints
        kept = sorted(entries, key=lambda entry: (entry.step, entry.name))[skip_first:]
        if not kept:
            raise InputError(
                f"params.yaml: merge.skip_first: {skip_first} of {len(entries)} checkpoints in {file} are skipped; "
                f"expected one candidate at least"
            )
        for entry in kept:
            if "mean" not in entry.dev:
                raise InputError(f"{file}: checkpoint {entry.name}: expected a dev score 'mean', found none")
            name = f"{run}/{entry.name}"
            digest = weights_digest(checkpoints / name)
            found.append(Candidate(name=name, run=run, step=entry.step, dev=entry.dev["mean"], sha256=digest))
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
    if len(chosen) < recipe.at_least or (recipe.at_most is not None and len(chosen) > recipe.at_most):
        wanted = f"exactly {recipe.at_least}" if recipe.at_least == recipe.at_most else f"at least {recipe.at_least}"
        raise InputError(
            f"params.yaml: merge.recipes.{name}: method {recipe.method} merges {wanted} candidates, found "
            f"{len(chosen)}: {', '.join(candidate.name for candidate in chosen)}; runs and last_only choose them"
        )
    return chosen
