"""Numbers of distinct texts in the order of their first appearance: 20 bytes for each, whatever its length."""

from __future__ import annotations

import polars as pl

KEYS = ["hash_0", "hash_1"]  # 128 bits: no two of any realistic number of texts share them


class TextIndex:
    """Texts, known by a hash, and their numbers from 0."""

    def __init__(self) -> None:
        self._known = pl.DataFrame(schema={KEYS[0]: pl.UInt64, KEYS[1]: pl.UInt64, "number": pl.Int32})

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
            if len(new) < len(keys):
                numbers = numbers.fill_null(keys.join(new, on=KEYS, how="left", maintain_order="left")["number"])
            else:
                numbers = new["number"]
        return numbers, is_new

    def _find(self, keys: pl.DataFrame) -> pl.Series:
        known = self._known.join(keys, on=KEYS, how="semi")  # hashes the few, not the many
        return keys.join(known, on=KEYS, how="left", maintain_order="left")["number"]


def _hashes(texts: pl.Series) -> pl.DataFrame:
    return pl.DataFrame([texts.hash(seed).alias(name) for seed, name in enumerate(KEYS)])
