"""Checkpoints to merged encoder folders, with their provenance.

Reads what ``train`` wrote for every run, asks each recipe's method for its plan, writes one folder per recipe.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from codiemb_pipeline.artifacts.merge import (
    Base,
    BestCheckpoint,
    Candidate,
    MergedModel,
    MergeResult,
    MergeSummary,
    Provenance,
    Trial,
    WeightedCandidate,
)
from codiemb_pipeline.artifacts.train import TrainedRun
from codiemb_pipeline.encoder.checkpoint import weights_digest
from codiemb_pipeline.errors import InputError, nearest
from codiemb_pipeline.merge.aligned_tensors import AlignedTensors
from codiemb_pipeline.merge.methods import METHODS, MergeInputs, MergePlan
from codiemb_pipeline.merge.writer import SHARD_BYTES, MergedFolderWriter, Score
from codiemb_pipeline.params.merge import MergeParams, Recipe

logger = logging.getLogger(__name__)


def merge_checkpoints(
    params: MergeParams,
    runs: Sequence[str],
    checkpoints: Path,
    score: Score,
    out: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Merge the runs' checkpoints by every recipe.

    Args:
        params: the section of params.yaml.
        runs: names of the runs, in the order in which their checkpoints are candidates.
        checkpoints: holds a folder per run, as ``train`` wrote it: encoder folders, the base's first, and ``run.json``.
        score: held-out score of an encoder folder, higher is better.
        out: receives ``<recipe>/`` (an encoder folder with ``provenance.json``) and ``summary.json``.
        shard_bytes: how much one file of merged weights may hold.

    Raises:
        InputError: no candidates or not those a recipe needs, a folder without weights, or runs of different bases.
    """
    base, digest = read_base(checkpoints, runs)
    candidates = read_candidates(checkpoints, runs, params.skip_first)
    chosen = {name: select(candidates, recipe, name) for name, recipe in params.recipes.items()}
    best = max(candidates, key=lambda candidate: candidate.dev)
    logger.info("merge: %d candidates, best %s (dev %.4f)", len(candidates), best.name, best.dev)
    out.mkdir(parents=True, exist_ok=True)
    merging = _Merging(
        base=base,
        base_sha256=digest,
        checkpoints=checkpoints,
        score=score,
        out=out,
        dtype=getattr(torch, params.output_dtype) if params.output_dtype else None,
        shard_bytes=shard_bytes,
    )
    MergeSummary(
        base=Base(sha256=digest),
        candidates=candidates,
        best_checkpoint=BestCheckpoint(name=best.name, dev=best.dev),
        order=list(params.recipes),
        methods={name: merging.merge(name, recipe, chosen[name]) for name, recipe in params.recipes.items()},
    ).write(out / "summary.json")


@dataclass(frozen=True, kw_only=True)
class _Merging:
    """What all recipes have in common."""

    base: Path
    base_sha256: str
    checkpoints: Path
    score: Score
    out: Path
    dtype: torch.dtype | None
    shard_bytes: int

    def merge(self, name: str, recipe: Recipe, candidates: Sequence[Candidate]) -> MergedModel:
        """Write the merged encoder ``name`` and return its part of the summary."""
        target = self.out / name
        tensors = AlignedTensors(self.base, {entry.name: self.checkpoints / entry.name for entry in candidates})
        writer = MergedFolderWriter(
            tensors=tensors,
            files_from=self.checkpoints / candidates[-1].name,
            score=self.score,
            out=self.out,
            dtype=self.dtype,
            shard_bytes=self.shard_bytes,
        )
        plan = METHODS[recipe.method](
            MergeInputs(
                recipe=recipe,
                scores={candidate.name: candidate.dev for candidate in candidates},
                runs=[candidate.run for candidate in candidates],
                walk=tensors.walk,
                score_soup=writer.score_soup,
            )
        )
        written = writer.write(target, plan, name)
        # A known score is that of the weights as they were; another element type may change it.
        dev = self.score(target) if plan.score is None or self.dtype else plan.score
        logger.info("merge: %s: dev %.4f", name, dev)
        weights = written.table.mean_weights()
        provenance = Provenance(
            recipe=name,
            method=recipe.method,
            description=plan.description,
            params=recipe.model_dump(mode="json", exclude={"method"}),
            norm=plan.norm,
            weights_sum_to_one=plan.sums_to_one,
            dev=round(dev, 6),
            candidates=[WeightedCandidate(**entry.model_dump(), weight=weights[entry.name]) for entry in candidates],
            layers=written.table.rows(),
            tensors=written.tensors,
            kept_from_base=written.kept_from_base,
            copied=tensors.constant,
            base=Base(sha256=self.base_sha256),
            sha256=weights_digest(target),
        )
        provenance.write(target / "provenance.json")
        return _summary(provenance, plan)


def _summary(provenance: Provenance, plan: MergePlan) -> MergedModel:
    trials = [Trial(candidate=trial.candidate, dev=round(trial.score, 6), kept=trial.kept) for trial in plan.trials]
    return MergedModel(
        **{key: getattr(provenance, key) for key in MergeResult.model_fields},
        candidates=[candidate.name for candidate in provenance.candidates],
        ingredients=[candidate.name for candidate in provenance.candidates if candidate.weight != 0],
        **({"trials": trials} if trials else {}),
    )


def read_base(checkpoints: Path, runs: Sequence[str]) -> tuple[Path, str]:
    """Return the base's folder, which is checkpoint 0 of the first run, and the hash of the weights it was made from.

    A projection that the base lacked is the first run's.

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
