"""Texts by their hashes: numbers for distinct ones, and splits and limits that stay when rows are added."""

import hashlib
from collections.abc import Iterable

import numpy as np
import polars as pl

from codiemb_pipeline.params.ingest import SplitShares
from codiemb_pipeline.schema import SPLITS

KEYS = ["hash_0", "hash_1"]  # 128 bits: no two of any realistic number of texts share them
KEY_TYPES = dict.fromkeys(KEYS, pl.UInt64)
PARTS, SLICE_ROWS = 64, 2**20  # rows are compared one part at a time, gathered from slices, to bound memory
SPLIT_TYPE = pl.Enum(SPLITS)  # ordered: train < dev < test


class TextIndex:
    """Numbers from 0 of distinct texts in the order of their first appearance, in 20 bytes for each."""

    def __init__(self) -> None:
        self._known = pl.DataFrame(schema={**KEY_TYPES, "number": pl.Int32})

    def __len__(self) -> int:
        return len(self._known)

    def find(self, texts: pl.Series) -> pl.Series:
        """Return the number of each text, null for unknown ones."""
        return self._find(_hashes(texts))

    def add(self, texts: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Give numbers to new texts; return the number of each text, and whether it is the first with this number."""
        keys = _hashes(texts)
        numbers = self._find(keys)
        is_new = keys.select(pl.struct(KEYS).is_first_distinct()).to_series() & numbers.is_null()
        new = keys.filter(is_new)
        if len(new):
            new = new.with_columns(pl.int_range(len(self), len(self) + len(new), dtype=pl.Int32).alias("number"))
            self._known = pl.concat([self._known, new], rechunk=False)
            numbers = numbers.fill_null(keys.join(new, on=KEYS, how="left", maintain_order="left")["number"])
        return numbers, is_new

    def _find(self, keys: pl.DataFrame) -> pl.Series:
        known = self._known.join(keys, on=KEYS, how="semi")  # hashes the few, not the many
        return keys.join(known, on=KEYS, how="left", maintain_order="left")["number"]


def _hashes(texts: pl.Series) -> pl.DataFrame:
    return pl.DataFrame([texts.hash(seed).alias(name) for seed, name in enumerate(KEYS)])


def hashes_of(keys: Iterable[object], *parts: object) -> pl.DataFrame:
    """Return the first 128 bits of the SHA-256 of ``parts`` and each key, as columns ``KEYS``; see ``hash_share``."""
    start = "\x1f".join([*map(str, parts), ""])
    digests = [hashlib.sha256(f"{start}{key}".encode()).digest()[:16] for key in keys]
    first, second = np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64).reshape(-1, 2).T
    return pl.DataFrame(dict(zip(KEYS, (first, second), strict=True)))


def place_of(hashes: pl.DataFrame) -> np.ndarray:
    """Return a number in [0, 1) for each hash, float64 (N,)."""
    return hashes[KEYS[0]].to_numpy() / 2**64


def splits_of(hashes: pl.DataFrame, shares: SplitShares) -> pl.Series:
    """Return the split of each row by the hash of seed, source and key: the same input, the same split."""
    place = place_of(hashes)
    numbers = np.where(place < shares.test, 2, np.where(place < shares.test + shares.dev, 1, 0))
    return pl.Series(SPLITS, dtype=SPLIT_TYPE).gather(numbers)


def rows_apart(hashes: pl.DataFrame, splits: pl.Series) -> tuple[np.ndarray, int, pl.DataFrame]:
    """Return which rows stay, bool (N,), when a key may occur in one split, the latest, and there once.

    The others are the number of rows that go because their key is in a later split too, and the rows that go because
    they repeat the ``first`` of their key, as ``row`` and ``first``.
    """
    split = splits.to_physical().alias("split")
    keep, leaked = np.zeros(len(hashes), dtype=bool), 0
    repeats = [pl.DataFrame(schema=dict.fromkeys(("row", "first"), pl.UInt32))]
    starts = range(0, max(len(hashes), 1), SLICE_ROWS)
    for part in range(PARTS):
        slices = (
            hashes[start : start + SLICE_ROWS]
            .with_columns(split[start : start + SLICE_ROWS])
            .with_row_index("row", start)
            .filter(pl.col(KEYS[1]) % PARTS == part)
            for start in starts
        )
        found = pl.concat(slices)
        latest = found.filter(pl.col("split") == pl.col("split").max().over(KEYS))
        once = latest.unique(KEYS, keep="first", maintain_order=True).select(*KEYS, first="row")
        keep[once["first"].to_numpy()] = True
        leaked += len(found) - len(latest)
        if len(once) < len(latest):
            again = latest.join(once, left_on="row", right_on="first", how="anti").join(once, on=KEYS)
            repeats.append(again.select("row", "first"))
    return keep, leaked, pl.concat(repeats)


def within_limit(places: np.ndarray, limit: int) -> np.ndarray:
    """Return which rows are among the ``limit`` of the lowest places, (N,); rows of one place stay or go together."""
    if len(places) <= limit:
        return np.ones(len(places), dtype=bool)
    return places < np.partition(places, limit)[limit]  # the first place that would be one row too many
