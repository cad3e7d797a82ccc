"""Writes merged folders by a rule, tensor by tensor.

In memory at a time: one tensor of base and of each candidate in float32, the result, and one shard of what was merged.
Knows nothing of how weights are chosen nor of what a score measures.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tqdm import tqdm

from codiemb_pipeline.encoder.checkpoint import copy_encoder_files
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.merge.delta_fusion import delta_norms
from codiemb_pipeline.merge.layers import LayerTable
from codiemb_pipeline.merge.methods import uniform_rule
from codiemb_pipeline.merge.rules import Rule
from codiemb_pipeline.merge.tensors import AlignedFolders
from codiemb_pipeline.merge.weight_writer import SHARD_BYTES, WeightWriter

logger = logging.getLogger(__name__)

Score = Callable[[Path], float]


def walk(folders: AlignedFolders, progress: str | None = None) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Yield (name, base of shape S, deltas of shape (K, *S)) of every tensor that can be merged."""
    names = tqdm(folders.aligned.floating, desc=progress, unit="tensor", leave=False, delay=2, disable=None)
    for name in names:
        yield name, *folders.read(name)


@dataclass(frozen=True)
class Written:
    """What happened to the tensors of one merged folder: layers, weights per tensor, and those nobody moved."""

    table: LayerTable
    tensors: dict[str, dict[str, float]] = field(default_factory=dict)
    kept_from_base: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Kitchen:
    """Writes merged folders: the merged weights, and the other files of ``files_from``.

    Attributes:
        folders: base and candidates, open.
        files_from: encoder folder that gives config, tokenizer and settings.
        score: held-out score of an encoder folder.
        out: where trials are made, and deleted.
        dtype: element type to write; ``None`` for the narrowest that holds what is stored.
        shard_bytes: how much a weight file may hold.
    """

    folders: AlignedFolders
    files_from: Path
    score: Score
    out: Path
    dtype: torch.dtype | None = None
    shard_bytes: int = SHARD_BYTES

    def write(self, folder: Path, rule: Rule, label: str) -> Written:
        """Merge tensor by tensor into ``folder``."""
        copy_encoder_files(self.files_from, folder)
        self._say_dtype(folder / "config.json")
        candidates = list(self.folders.candidates)
        writer, written = WeightWriter(folder, self.shard_bytes), Written(LayerTable(candidates, rule.norm))
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
            writer.add(name, self._to_write(name, result, rule))
        for name in self.folders.aligned.constant:
            writer.add(name, self.folders.read_constant(name))
        writer.finish()
        return written

    def _to_write(self, name: str, result: torch.Tensor, rule: Rule) -> torch.Tensor:
        if rule.copy_of is not None:
            result = self.folders.read_candidate(name, rule.copy_of)
            dtype = self.dtype or result.dtype
        else:
            dtype = self.dtype or self.folders.dtype(name)
        converted = result.to(dtype)
        if not converted.isfinite().all():
            raise InputError(
                f"params.yaml: merge.output_dtype: tensor {name!r} holds numbers that {dtype} can't; "
                f"largest {float(result.abs().max()):g}"
            )
        return converted

    def _say_dtype(self, config: Path) -> None:
        """Enter the element type in ``config.json``, which else tells that of the candidate it was copied from."""
        content = read_json(config) if self.dtype and config.exists() else None
        if isinstance(content, dict):
            said = str(self.dtype).removeprefix("torch.")
            write_json(config, content | {key: said for key in ("dtype", "torch_dtype") if key in content})

    def score_soup(self, ingredients: Sequence[str]) -> float:
        """Return the score of the uniform average of ``ingredients``, from a folder deleted afterwards."""
        rule = Rule(fuse_tensor=uniform_rule(list(self.folders.candidates), ingredients), description="")
        with TemporaryDirectory(dir=self.out, prefix=".trial-") as scratch:
            self.write(Path(scratch), rule, "trial")
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
