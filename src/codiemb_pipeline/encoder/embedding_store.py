"""Embeddings on disk, shared by all stages and processes, so that a text is encoded once for the same weights.

    <work>/embeddings/<encoder>/<checksum>-<random>.npy   segments: an array of (key, vector), mapped into memory

``<encoder>`` is a hash of the weights and of all else that leads from token ids to a vector; a key is a hash of the
token ids. On the CPU, a vector does not depend on the texts that it is encoded with (``encoder.encode``), so that
results are the same bytes with the store empty, full or off. A segment is written under another name and renamed: a
kill leaves it whole or absent. When the store is full, the encoders that were used least recently go first.
"""

import hashlib
import json
import logging
import os
import shutil
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch

from codiemb_pipeline.encoder.text_encoder import Encoder

GIB = 2**30
NOT_NUMBERS = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}
"""Keys of a configuration that no embedding depends on; they differ between a model and its exported copy."""
DRAFTS_LAST_S = 3600.0

logger = logging.getLogger(__name__)


class EmbeddingStore:
    """The stored embeddings of one encoder.

    Args:
        folder: of this encoder; the folders beside it are those of others.
        width: numbers in an embedding, D.
        gigabytes: bound of all encoders together, in GiB.
    """

    def __init__(self, folder: Path, width: int, gigabytes: float) -> None:
        self._folder, self._limit, self._full = folder, int(gigabytes * GIB), False
        self._row = np.dtype([("key", np.uint64, (2,)), ("vector", np.float32, (width,))])
        self._segments: list[np.ndarray] = []
        self._seen: set[str] = set()
        self._keys = np.empty((0, 2), dtype=np.uint64)
        self._places = np.empty((0, 2), dtype=np.int64)  # number of the segment, row in it
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another process makes room
            os.utime(folder)  # used now
        for draft in folder.glob(".*"):
            with suppress(FileNotFoundError):  # its writer has renamed it
                if time.time() - draft.stat().st_mtime > DRAFTS_LAST_S:
                    draft.unlink()

    def read(self, keys: np.ndarray, out: torch.Tensor) -> np.ndarray:
        """Fill ``out`` (n, D) with the embeddings of ``keys`` (n, 2) that are stored; return which were, bool (n,)."""
        self._refresh()
        if not len(self._keys):
            return np.zeros(len(keys), dtype=bool)
        places = np.minimum(np.searchsorted(self._keys[:, 0], keys[:, 0]), len(self._keys) - 1)
        found = (self._keys[places] == keys).all(axis=1)
        segments, rows = self._places[places].T
        for number in np.unique(segments[found]):
            wanted = found & (segments == number)
            out[torch.from_numpy(wanted)] = torch.from_numpy(self._segments[number]["vector"][rows[wanted]])
        return found

    def add(self, keys: np.ndarray, vectors: torch.Tensor) -> None:
        """Store embeddings (n, D) by ``keys`` (n, 2); without room nothing is stored, and a log line says so."""
        segment = np.empty(len(keys), dtype=self._row)
        segment["key"], segment["vector"] = keys, vectors.numpy()
        if not len(segment) or not self._has_room(segment.nbytes):
            return
        draft = self._folder / f".{uuid4().hex}"
        try:
            self._folder.mkdir(exist_ok=True)  # another process may have made room
            with draft.open("wb") as file:
                np.save(file, segment)
            draft.rename(self._folder / f"{zlib.crc32(segment):08x}-{draft.name[1:]}.npy")
        except OSError as error:
            self._stop(f"{error.strerror}")

    def _refresh(self) -> None:
        """Map the segments that were written since the last call, by this process or another."""
        news = sorted({path.name for path in self._folder.glob("*.npy")} - self._seen)
        for name in news:
            self._seen.add(name)
            segment = self._open(self._folder / name)
            if segment is not None:
                places = np.stack([np.full(len(segment), len(self._segments)), np.arange(len(segment))], axis=1)
                self._segments.append(segment)
                self._keys = np.concatenate([self._keys, segment["key"]])
                self._places = np.concatenate([self._places, places])
        if news:
            order = np.argsort(self._keys[:, 0], kind="stable")
            self._keys, self._places = self._keys[order], self._places[order]

    def _open(self, path: Path) -> np.ndarray | None:
        try:
            segment = np.load(path, mmap_mode="r")
            if segment.dtype == self._row and path.name.startswith(f"{zlib.crc32(segment):08x}-"):
                return segment
        except FileNotFoundError:  # removed to make room
            return None
        except (ValueError, EOFError, OSError):
            pass
        logger.warning("deleted the damaged embeddings %s; their texts are encoded again", path)
        path.unlink(missing_ok=True)
        return None

    def _has_room(self, size: int) -> bool:
        """Return whether ``size`` bytes more may be stored, after removing encoders that were not used for longest."""
        if self._full:
            return False
        sizes = {folder: _size(folder) for folder in sorted(self._folder.parent.iterdir()) if folder.is_dir()}
        used = sum(sizes.values()) + size
        for folder in sorted(sizes, key=_last_use):
            if used <= self._limit:
                break
            if folder == self._folder:
                continue
            shutil.rmtree(folder, ignore_errors=True)
            used -= sizes[folder]
        if used > self._limit:
            self._stop(f"evaluate.store_gigabytes is {self._limit / GIB:g}")
        return not self._full

    def _stop(self, why: str) -> None:
        self._full = True
        logger.warning("no more embeddings are stored (%s); the results stay the same, later stages take longer", why)


def embeddings_folder(work: Path) -> Path:
    """Return the store's folder in the folder of work in progress."""
    return work / "embeddings"


def open_store(encoder: Encoder, place: Path | None, gigabytes: float, *, bf16: bool = False) -> EmbeddingStore | None:
    """Return the store of the encoder as it is now, below ``place``; ``None`` without a place or room (0 GiB)."""
    if place is None or not gigabytes:
        return None
    return EmbeddingStore(place / _digest(encoder, bf16=bf16), encoder.model.output_width, gigabytes)


def text_keys(encoder: Encoder, rows: Sequence[Sequence[int] | np.ndarray], prompt_lengths: np.ndarray) -> np.ndarray:
    """Return the keys of token rows, uint64 (n, 2); the prompt's length counts where pooling excludes the prompt."""
    lengths = np.zeros_like(prompt_lengths) if encoder.params.prompts.in_pooling else prompt_lengths
    digests = (
        hashlib.blake2b(np.array([length, *row], dtype=np.int64).tobytes(), digest_size=16).digest()
        for length, row in zip(lengths, rows, strict=True)
    )
    return np.frombuffer(b"".join(digests), dtype=np.uint64).reshape(-1, 2)


def _digest(encoder: Encoder, *, bf16: bool) -> str:
    """Return a hash of what leads from token ids to an embedding: weights, configuration, pooling, arithmetic."""
    config = encoder.model.backbone.config
    kept = {"pooling", "projection", "normalize", "dimensions", "bidirectional", "padding_side"}
    settings = {
        **encoder.params.model_dump(mode="json", include=kept),
        "prompt in pooling": encoder.params.prompts.in_pooling,
        "class": type(encoder.model.backbone).__name__,
        "config": {key: value for key, value in config.to_dict().items() if key not in NOT_NUMBERS},
        "torch": torch.__version__,
        "device": encoder.device.type,
        "bf16": bf16,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(encoder.model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:32]


def _size(folder: Path) -> int:
    total = 0
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def _last_use(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0
