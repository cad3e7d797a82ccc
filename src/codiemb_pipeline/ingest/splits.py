"""Splits and limits, decided by a hash of the text, so that they stay when rows are added; no text is in two splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import polars as pl

from codiemb_pipeline.ingest.text_index import KEYS
from codiemb_pipeline.ingest.validation import RejectLog
from codiemb_pipeline.params.ingest import SplitShares
from codiemb_pipeline.schema import SPLITS

PARTS = 16  # rows are compared one part at a time, to bound memory
SPLIT_TYPE = pl.Enum(SPLITS)  # ordered: train < dev < test


def hashes_of(keys: Iterable[object], *parts: object) -> np.ndarray:
    """Return the first 128 bits of the SHA-256 of ``parts`` and each key, uint64 (N, 2); see ``texts.hash_share``."""
    start = "\x1f".join([*map(str, parts), ""])
    digests = [hashlib.sha256(f"{start}{key}".encode()).digest()[:16] for key in keys]
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64).reshape(-1, 2)


def splits_of(hashes: np.ndarray, shares: SplitShares) -> pl.Series:
    """Return the split of each row by the hash of seed, source and key, (N, 2): the same input, the same split."""
    place = hashes[:, 0] / 2**64
    numbers = np.where(place < shares.test, 2, np.where(place < shares.test + shares.dev, 1, 0))
    return pl.Series(SPLITS, dtype=SPLIT_TYPE).gather(numbers)


def rows_apart(hashes: np.ndarray, splits: pl.Series, log: RejectLog, what: str) -> np.ndarray:
    """Return which rows stay, bool (N,), when a key may occur in one split, the latest, and there once.

    Args:
        hashes: of the key of each row, uint64 (N, 2).
        splits: of each row.
        log: counts the rows that do not stay.
        what: name of the rows, for the counts.
    """
    rows = pl.DataFrame({KEYS[0]: hashes[:, 0], KEYS[1]: hashes[:, 1], "split": splits.to_physical()})
    rows = rows.with_row_index("row")
    keep, leaked, repeated = np.zeros(len(rows), dtype=bool), 0, 0
    for part in range(PARTS):
        found = rows.filter(pl.col(KEYS[1]) % PARTS == part)
        latest = found.filter(pl.col("split") == pl.col("split").max().over(KEYS))
        first = latest.unique(KEYS, keep="first", maintain_order=True)["row"]
        keep[first.to_numpy()] = True
        leaked += len(found) - len(latest)
        repeated += len(latest) - len(first)
    log.filter(f"{what} in a later split too", leaked)
    log.filter(f"{what} that repeat", repeated)
    return keep


def within_limit(places: np.ndarray, limit: int | None) -> np.ndarray:
    """Return which rows are within ``limit``, bool (N,): those of the lowest places; rows of one place go together.

    Args:
        places: of each row, (N,), by the hash of its text.
        limit: the largest number of rows; ``None`` keeps all.
    """
    if limit is None or len(places) <= limit:
        return np.ones(len(places), dtype=bool)
    return places < np.partition(places, limit)[limit]  # the first place that would be one row too many
