"""Checkpoints to merged encoder folders, with their provenance.

Reads what ``train`` wrote, asks each method for its rule, writes one folder per method. Knows nothing of the methods'
formulas nor of what the score measures.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file
from tqdm import tqdm

from codiemb_pipeline.encoder.checkpoint import copy_encoder_files, weights_digest
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.merge.delta_fusion import delta_norms
from codiemb_pipeline.merge.layers import LayerTable
from codiemb_pipeline.merge.methods import METHODS, FuseTensor, Material, Rule, uniform_rule
from codiemb_pipeline.merge.tensors import WEIGHTS, AlignedFolders
from codiemb_pipeline.params.merge import MergeParams

logger = logging.getLogger(__name__)

Score = Callable[[Path], float]


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that may be merged: its name, training step, held-out score and the hash of its weights."""

    name: str
    step: int
    dev: float
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {"name": self.name, "step": self.step, "dev": round(self.dev, 6), "sha256": self.sha256}


def merge_checkpoints(params: MergeParams, base: Path, checkpoints: Path, score: Score, out: Path) -> None:
    """Merge a run's checkpoints by every method asked for.

    Args:
        params: the section of params.yaml.
        base: encoder folder of the weights before fine-tuning.
        checkpoints: what ``train`` wrote: encoder folders and ``run.json``.
        score: held-out score of an encoder folder, higher is better.
        out: receives ``<method>/`` (an encoder folder with ``provenance.json``) and ``summary.json``.

    Raises:
        InputError: no candidates, a folder without weights, or tensors that do not agree.
    """
    candidates = read_candidates(checkpoints, params.skip_first)
    best = max(candidates, key=lambda candidate: candidate.dev)
    logger.info("merge: %d candidates, best %s (dev %.4f)", len(candidates), best.name, best.dev)
    summary: dict[str, Any] = {
        "base": {"sha256": weights_digest(base)},
        "candidates": [candidate.to_dict() for candidate in candidates],
        "best_checkpoint": {"name": best.name, "dev": round(best.dev, 6)},
        "methods": {},
    }
    out.mkdir(parents=True, exist_ok=True)
    with AlignedFolders(base, {c.name: checkpoints / c.name for c in candidates}) as folders:
        kitchen = _Kitchen(folders, files_from=checkpoints / candidates[-1].name, score=score, out=out)
        scores = {candidate.name: candidate.dev for candidate in candidates}
        material = Material(scores, params, lambda: walk(folders), kitchen.score_soup)
        for method in params.methods:
            rule = METHODS[method](material)
            written = kitchen.write(out / method, rule, method)
            dev = score(out / method) if rule.score is None else rule.score
            logger.info("merge: %s: dev %.4f", method, dev)
            provenance = _provenance(method, rule, dev, candidates, written) | {"base": summary["base"]}
            provenance["sha256"] = weights_digest(out / method)
            write_json(out / method / "provenance.json", provenance)
            summary["methods"][method] = _summarise(provenance, rule)
    write_json(out / "summary.json", summary)


def read_candidates(checkpoints: Path, skip_first: int) -> list[Candidate]:
    """Return the checkpoints that ``run.json`` lists, by step, without the first ``skip_first``.

    Raises:
        InputError: there are none left, or an entry lacks a field, named with the file.
    """
    file = checkpoints / "run.json"
    entries = read_json(file).get("checkpoints") or []
    for number, entry in enumerate(entries):
        for name, value in (("name", entry.get("name")), ("step", entry.get("step")), ("dev.mean", _dev_mean(entry))):
            if value is None:
                raise InputError(f"{file}: checkpoints[{number}]: expected a field {name!r}, found none")
    kept = sorted(entries, key=lambda entry: (entry["step"], entry["name"]))[skip_first:]
    if not kept:
        raise InputError(
            f"params.yaml: merge.skip_first: {skip_first} of {len(entries)} checkpoints in {file} are skipped; "
            f"expected one candidate at least"
        )
    return [
        Candidate(entry["name"], entry["step"], _dev_mean(entry), weights_digest(checkpoints / entry["name"]))
        for entry in kept
    ]


def _dev_mean(entry: Mapping[str, Any]) -> Any:
    return (entry.get("dev") or {}).get("mean")


def walk(folders: AlignedFolders, progress: str | None = None) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Yield (name, base of shape S, deltas of shape (K, *S)) of every tensor that can be merged."""
    names = tqdm(folders.floating, desc=progress, unit="tensor", leave=False, delay=2, disable=None)
    for name in names:
        yield name, *folders.read(name)


@dataclass(frozen=True)
class _Written:
    """What happened to the tensors of one merged folder."""

    table: LayerTable
    tensors: dict[str, dict[str, float]]
    kept_from_base: list[str]
    copied: list[str]


@dataclass(frozen=True)
class _Kitchen:
    """Writes merged folders: the merged weights, and the other files of ``files_from``."""

    folders: AlignedFolders
    files_from: Path
    score: Score
    out: Path

    def write(self, folder: Path, rule: Rule, label: str) -> _Written:
        """Merge tensor by tensor into ``folder``; one model's worth of tensors is held until it is saved."""
        merged: dict[str, torch.Tensor] = {}
        candidates = list(self.folders.candidates)
        written = _Written(LayerTable(candidates, rule.norm), {}, [], list(self.folders.constant))
        for name, base, deltas in walk(self.folders, f"merge {label}"):
            norms = delta_norms(deltas, rule.norm)
            self._check_finite(name, base, norms)
            result, weights = base, None
            if norms.any():
                result, weights = rule.fuse_tensor(name, base, deltas)
                named = zip(candidates, weights.tolist(), strict=True)
                written.tensors[name] = {candidate: round(weight, 6) for candidate, weight in named}
            else:
                written.kept_from_base.append(name)
            written.table.add(name, base.numel(), norms, weights)
            merged[name] = result.to(self.folders.dtype(name)).contiguous()
        merged |= {name: self.folders.read_constant(name) for name in self.folders.constant}
        copy_encoder_files(self.files_from, folder)
        save_file(merged, folder / WEIGHTS, metadata={"format": "pt"})
        return written

    def score_soup(self, ingredients: Sequence[str]) -> float:
        """Return the score of the uniform average of ``ingredients``, from a folder deleted afterwards."""
        rule: FuseTensor = uniform_rule(list(self.folders.candidates), ingredients)
        with TemporaryDirectory(dir=self.out, prefix=".trial-") as scratch:
            self.write(Path(scratch), Rule(fuse_tensor=rule, description=""), "trial")
            score = self.score(Path(scratch))
        logger.info("merge: greedy: %s: dev %.4f", " + ".join(ingredients), score)
        return score

    def _check_finite(self, name: str, base: torch.Tensor, norms: torch.Tensor) -> None:
        broken = [] if base.isfinite().all() else [self.folders.base]
        broken += [f for f, norm in zip(self.folders.candidates.values(), norms, strict=True) if not norm.isfinite()]
        if broken:
            raise InputError(
                f"{broken[0].file_of(name)}: tensor {name!r}: expected finite numbers, found NaN or infinity"
            )


def _provenance(
    method: str, rule: Rule, dev: float, candidates: Sequence[Candidate], written: _Written
) -> dict[str, Any]:
    weights = written.table.mean_weights()
    return {
        "method": method,
        "description": rule.description,
        "params": rule.params,
        "norm": rule.norm,
        "dev": round(dev, 6),
        "candidates": [candidate.to_dict() | {"weight": weights[candidate.name]} for candidate in candidates],
        "layers": written.table.rows(),
        "tensors": written.tensors,
        "kept_from_base": written.kept_from_base,
        "copied": written.copied,
    }


def _summarise(provenance: Mapping[str, Any], rule: Rule) -> dict[str, Any]:
    ingredients = [candidate["name"] for candidate in provenance["candidates"] if candidate["weight"] > 0]
    trials = [{"candidate": t.candidate, "dev": round(t.score, 6), "kept": t.kept} for t in rule.trials]
    summary = {"dev": provenance["dev"], "ingredients": ingredients, "layers": provenance["layers"]}
    return summary | ({"trials": trials} if trials else {})
