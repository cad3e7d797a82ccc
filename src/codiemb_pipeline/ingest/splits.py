"""Which split a query or pair belongs to: by a hash of its text, so it stays when rows are added. No text is in two.

Knows nothing of files.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from codiemb_pipeline.ingest.rows import Ledger
from codiemb_pipeline.params.ingest import SplitShares
from codiemb_pipeline.schema import SPLITS
from codiemb_pipeline.texts import hash_share

PARTS = 16  # rows are compared a part at a time, told apart by their digests


def split_of(key: object, shares: SplitShares, *, seed: int, source: str) -> str:
    """Return the split of a text by its key: the same key, seed and shares, the same split."""
    place = hash_share(seed, source, key)
    if place < shares.test:
        return "test"
    return "dev" if place < shares.test + shares.dev else "train"


def keep_apart(table: pd.DataFrame, keys: pd.Series, ledger: Ledger, what: str) -> pd.DataFrame:
    """Drop rows whose key occurs in a later split (train < dev < test), or earlier in their own, and count them.

    Args:
        table: rows with a column ``split``.
        keys: key of each row.
        ledger: counts what is dropped.
        what: name of the rows, for the counts.

    Returns:
        The rows that stay, in their order.
    """
    order = table["split"].map({split: place for place, split in enumerate(SPLITS)})
    latest = order.groupby(keys).transform("max")
    leaked = order < latest
    repeated = keys[~leaked].duplicated().reindex(table.index, fill_value=False)
    _count(ledger, what, int(leaked.sum()), int(repeated.sum()))
    return table[~leaked & ~repeated].reset_index(drop=True)


def rows_apart(digests: bytearray, splits: np.ndarray, ledger: Ledger, what: str) -> np.ndarray:
    """Return which rows :func:`keep_apart` would keep, bool (N,), for tens of millions of rows in little memory.

    Args:
        digests: of the key of each row, 16 bytes each.
        splits: number of each row's split, int8 (N,), later splits higher.
        ledger: counts what is dropped.
        what: name of the rows, for the counts.
    """
    halves = np.frombuffer(digests, dtype="<u8").reshape(-1, 2)
    part_of = np.frombuffer(digests, dtype=np.uint8)[::16] % PARTS
    keep, leaked, dropped = np.ones(len(halves), dtype=bool), 0, 0
    for part in range(PARTS):
        rows = np.flatnonzero(part_of == part)
        rows = rows[np.lexsort((-splits[rows], halves[rows, 1], halves[rows, 0]))]
        same = (halves[rows[1:]] == halves[rows[:-1]]).all(axis=1)  # as the row before
        followers, leaders = np.flatnonzero(same) + 1, np.flatnonzero(~np.append(False, same))
        leader_of = leaders[np.searchsorted(leaders, followers) - 1]  # of its latest split, the first row
        leaked += int((splits[rows[followers]] < splits[rows[leader_of]]).sum())
        dropped += len(followers)
        keep[rows[followers]] = False
    _count(ledger, what, leaked, dropped - leaked)
    return keep


def _count(ledger: Ledger, what: str, leaked: int, repeated: int) -> None:
    ledger.leave_out(f"{what} in a later split too", leaked)
    ledger.leave_out(f"{what} that repeat", repeated)


def within_limit(places: np.ndarray, limit: int) -> np.ndarray:
    """Return which rows are within ``limit``, bool (N,): those of the lowest places, rows of one place together.

    Args:
        places: of each row, float64 (N,), by the hash of its text.
        limit: how many rows at most.
    """
    if len(places) <= limit:
        return np.ones(len(places), dtype=bool)
    return places < np.partition(places, limit)[limit]  # the first place that would be one row too many


def limit_place(key: object, *, seed: int, source: str) -> float:
    """Return the place of a text in the order by which a limit takes rows, in [0, 1)."""
    return hash_share(seed, source, "limit", key)
