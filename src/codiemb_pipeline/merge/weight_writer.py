"""Write an encoder folder's weights as they come, in shards, so that never more than one shard is in memory.

A model that fits one shard becomes ``model.safetensors``; a bigger one ``model-00001-of-00002.safetensors`` and so on,
with the index that transformers reads. Names with a sub-folder (``2_Dense/linear.weight``) go into that folder's own
``model.safetensors``. Knows nothing of where tensors come from.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.merge.stored import INDEX, WEIGHTS

SHARD_BYTES = 2_000_000_000


class WeightWriter:
    """Collects tensors and saves them shard by shard.

    Args:
        folder: an existing folder.
        shard_bytes: how much a shard may hold; a larger tensor has one of its own.
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
