"""Checkpoints to merged encoder folders, with their provenance.

Reads what ``train`` wrote for every run, asks each recipe's method for its rule, writes one folder per recipe. Knows
nothing of the methods' formulas nor of what the score measures.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from codiemb_pipeline.encoder.checkpoint import weights_digest
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.merge.candidates import Candidate, read_candidates, select
from codiemb_pipeline.merge.kitchen import Kitchen, Score, walk
from codiemb_pipeline.merge.methods import METHODS
from codiemb_pipeline.merge.provenance import gist, provenance
from codiemb_pipeline.merge.rules import Material
from codiemb_pipeline.merge.tensors import AlignedFolders
from codiemb_pipeline.merge.vocabulary import check_same_vocabulary
from codiemb_pipeline.merge.weight_writer import SHARD_BYTES
from codiemb_pipeline.params.merge import MergeParams, Recipe

logger = logging.getLogger(__name__)


def merge_checkpoints(
    params: MergeParams,
    base: Path,
    runs: Sequence[str],
    checkpoints: Path,
    score: Score,
    out: Path,
    *,
    base_tensors: Path | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Merge the runs' checkpoints by every recipe.

    Args:
        params: the section of params.yaml.
        base: encoder folder of the weights before fine-tuning.
        runs: names of the runs, in the order in which their checkpoints are candidates.
        checkpoints: holds a folder per run, as ``train`` wrote it: encoder folders and ``run.json``.
        score: held-out score of an encoder folder, higher is better.
        out: receives ``<recipe>/`` (an encoder folder with ``provenance.json``) and ``summary.json``.
        base_tensors: the folder whose tensors are base's, where ``base`` does not hold them all.
        shard_bytes: how much one file of merged weights may hold.

    Raises:
        InputError: no candidates or not those a recipe needs, a folder without weights, or tensors, tokenizers or base
            hashes that do not agree.
    """
    digest = weights_digest(base)
    candidates = read_candidates(checkpoints, runs, params.skip_first, base, digest)
    chosen = {name: select(candidates, recipe, name) for name, recipe in params.recipes.items()}
    check_same_vocabulary(base, [checkpoints / candidate.name for candidate in candidates])
    best = max(candidates, key=lambda candidate: candidate.dev)
    logger.info("merge: %d candidates, best %s (dev %.4f)", len(candidates), best.name, best.dev)
    out.mkdir(parents=True, exist_ok=True)
    making = _Making(
        base=base_tensors or base,
        base_sha256=digest,
        checkpoints=checkpoints,
        score=score,
        out=out,
        dtype=getattr(torch, params.output_dtype) if params.output_dtype else None,
        shard_bytes=shard_bytes,
    )
    summary: dict[str, Any] = {
        "base": {"sha256": digest},
        "candidates": [candidate.to_dict() for candidate in candidates],
        "best_checkpoint": {"name": best.name, "dev": round(best.dev, 6)},
        "order": list(params.recipes),
        "methods": {name: making.make(name, recipe, chosen[name]) for name, recipe in params.recipes.items()},
    }
    write_json(out / "summary.json", summary)


@dataclass(frozen=True, kw_only=True)
class _Making:
    """What all recipes have in common."""

    base: Path
    base_sha256: str
    checkpoints: Path
    score: Score
    out: Path
    dtype: torch.dtype | None
    shard_bytes: int

    def make(self, name: str, recipe: Recipe, candidates: Sequence[Candidate]) -> dict[str, Any]:
        """Write the merged encoder ``name`` and return its part of the summary."""
        target = self.out / name
        places = {candidate.name: self.checkpoints / candidate.name for candidate in candidates}
        with AlignedFolders(self.base, places) as folders:
            kitchen = Kitchen(
                folders=folders,
                files_from=places[candidates[-1].name],
                score=self.score,
                out=self.out,
                dtype=self.dtype,
                shard_bytes=self.shard_bytes,
            )
            rule = METHODS[recipe.method](
                Material(
                    recipe=recipe,
                    scores={candidate.name: candidate.dev for candidate in candidates},
                    runs=[candidate.run for candidate in candidates],
                    walk=lambda: walk(folders),
                    score_soup=kitchen.score_soup,
                )
            )
            written = kitchen.write(target, rule, name)
        # A known score is that of the weights as they were; another element type may change it.
        dev = self.score(target) if rule.score is None or self.dtype else rule.score
        logger.info("merge: %s: dev %.4f", name, dev)
        told = provenance(name, recipe, rule, dev, candidates, written, folders.aligned)
        write_json(
            target / "provenance.json", told | {"base": {"sha256": self.base_sha256}, "sha256": weights_digest(target)}
        )
        return gist(told, rule)
