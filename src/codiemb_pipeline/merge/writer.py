"""Writes merged encoder folders, tensor by tensor.

In memory at a time: one tensor of base and of each candidate in float32, the result, and one shard of what was merged.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file

from codiemb_pipeline.encoder.checkpoint import copy_encoder_files
from codiemb_pipeline.encoder.weights import WEIGHTS
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.merge.aligned_tensors import AlignedTensors
from codiemb_pipeline.merge.delta_fusion import delta_norms
from codiemb_pipeline.merge.layers import LayerTable
from codiemb_pipeline.merge.methods import MergePlan, uniform_average

INDEX = f"{WEIGHTS}.index.json"
SHARD_BYTES = 2_000_000_000

logger = logging.getLogger(__name__)

Score = Callable[[Path], float]


@dataclass(frozen=True)
class Written:
    """What happened to the tensors of one merged folder: layers, weights per tensor, and those nobody moved."""

    table: LayerTable
    tensors: dict[str, dict[str, float]] = field(default_factory=dict)
    kept_from_base: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class MergedFolderWriter:
    """Writes merged folders: the merged weights, and the other files of ``files_from``.

    Attributes:
        tensors: base and candidates, open.
        files_from: encoder folder that gives config, tokenizer and settings.
        score: held-out score of an encoder folder.
        out: where trials are made, and deleted.
        dtype: element type to write; ``None`` for the narrowest that holds what is stored.
        shard_bytes: how much a weight file may hold.
    """

    tensors: AlignedTensors
    files_from: Path
    score: Score
    out: Path
    dtype: torch.dtype | None = None
    shard_bytes: int = SHARD_BYTES

    def write(self, folder: Path, plan: MergePlan, label: str) -> Written:
        """Merge tensor by tensor into ``folder``."""
        copy_encoder_files(self.files_from, folder)
        self._record_dtype(folder / "config.json")
        candidates = self.tensors.candidates
        shards, written = ShardWriter(folder, self.shard_bytes), Written(LayerTable(candidates, plan.norm))
        for name, base, deltas in self.tensors.walk(f"merge {label}"):
            norms = delta_norms(deltas, plan.norm)
            result, weights = base, None
            if norms.any():
                result, weights = plan.fuse_tensor(name, base, deltas)
                named = zip(candidates, weights.tolist(), strict=True)
                written.tensors[name] = {candidate: round(weight, 6) for candidate, weight in named}
            else:
                written.kept_from_base.append(name)
            written.table.add(name, base.numel(), norms, weights)
            shards.add(name, self._convert(name, result, plan))
        for name in self.tensors.constant:
            shards.add(name, self.tensors.read_constant(name))
        shards.finish()
        return written

    def score_soup(self, ingredients: Sequence[str]) -> float:
        """Return the score of the uniform average of ``ingredients``, from a folder deleted afterwards."""
        plan = MergePlan(fuse_tensor=uniform_average(self.tensors.candidates, ingredients), description="")
        with TemporaryDirectory(dir=self.out, prefix=".trial-") as scratch:
            self.write(Path(scratch), plan, "trial")
            score = self.score(Path(scratch))
        logger.info("merge: greedy: %s: dev %.4f", " + ".join(ingredients), score)
        return score

    def _convert(self, name: str, result: torch.Tensor, plan: MergePlan) -> torch.Tensor:
        if plan.copy_of is not None:
            result = self.tensors.read_candidate(name, plan.copy_of)
            dtype = self.dtype or result.dtype
        else:
            dtype = self.dtype or self.tensors.dtype(name)
        converted = result.to(dtype)
        if not converted.isfinite().all():
            raise InputError(
                f"params.yaml: merge.output_dtype: tensor {name!r} holds numbers beyond the range of {dtype}; "
                f"largest {float(result.abs().max()):g}"
            )
        return converted

    def _record_dtype(self, config: Path) -> None:
        """Enter the element type in ``config.json``, which was copied from a candidate."""
        content = read_json(config) if self.dtype and config.exists() else None
        if isinstance(content, dict):
            name = str(self.dtype).removeprefix("torch.")
            write_json(config, content | {key: name for key in ("dtype", "torch_dtype") if key in content})


class ShardWriter:
    """Saves tensors as they come, shard by shard, so that no more than one shard is in memory.

    A model that fits one shard becomes ``model.safetensors``; a larger one ``model-00001-of-00002.safetensors`` and so
    on, with the index that transformers reads. ``2_Dense/linear.weight`` goes into the sub-folder's own file.

    Args:
        folder: an existing folder.
        shard_bytes: how much a shard may hold; a larger tensor gets one of its own.
    """

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
        self._folder, self._limit = folder, shard_bytes
        self._shard: dict[str, torch.Tensor] = {}
        self._held = self._total = 0
        self._saved: list[tuple[Path, list[str]]] = []
        self._modules: dict[str, dict[str, torch.Tensor]] = {}

    def add(self, name: str, tensor: torch.Tensor) -> None:
        """Take ``tensor``; it must share no memory with another."""
        module, _, own_name = name.rpartition("/")
        if module:
            self._modules.setdefault(module, {})[own_name] = tensor.contiguous()
            return
        size = tensor.numel() * tensor.element_size()
        if self._shard and self._held + size > self._limit:
            self._save_shard()
        self._shard[name] = tensor.contiguous()
        self._held += size
        self._total += size

    def finish(self) -> None:
        """Save what is left, and give the files their names."""
        for module, tensors in self._modules.items():
            (self._folder / module).mkdir(parents=True, exist_ok=True)
            save_file(tensors, self._folder / module / WEIGHTS, metadata={"format": "pt"})
        self._save_shard()
        if len(self._saved) == 1:
            self._saved[0][0].rename(self._folder / WEIGHTS)
            return
        weight_map: dict[str, str] = {}
        for number, (file, names) in enumerate(self._saved, start=1):
            target = f"model-{number:05d}-of-{len(self._saved):05d}.safetensors"
            file.rename(self._folder / target)
            weight_map |= dict.fromkeys(names, target)
        write_json(self._folder / INDEX, {"metadata": {"total_size": self._total}, "weight_map": weight_map})

    def _save_shard(self) -> None:
        file = self._folder / f"shard-{len(self._saved):05d}.tmp"
        save_file(self._shard, file, metadata={"format": "pt"})
        self._saved.append((file, list(self._shard)))
        self._shard, self._held = {}, 0
