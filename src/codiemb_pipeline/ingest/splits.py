"""Which split a query or pair belongs to: by a hash of its text, so it stays when rows are added. No text is in two.

Knows nothing of files.
"""

from __future__ import annotations

import pandas as pd

from codiemb_pipeline.ingest.rows import Ledger
from codiemb_pipeline.params.ingest import SplitShares
from codiemb_pipeline.schema import SPLITS
from codiemb_pipeline.texts import hash_share


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
    ledger.leave_out(f"{what} in a later split too", int(leaked.sum()))
    ledger.leave_out(f"{what} that repeat", int(repeated.sum()))
    return table[~leaked & ~repeated].reset_index(drop=True)
