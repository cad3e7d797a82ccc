"""Finds, among texts held in an index, those equal or nearly equal to a text: keys, and MinHash with LSH (datasketch).

Every match is verified: candidates of LSH are compared n-gram by n-gram and, if needed, word by word. ``recall`` bounds
the share of matches that are missed. Texts with a high threshold are indexed apart from those with a low one: they need
fewer hash tables, and give fewer false candidates.

Memory grows with the index alone, 10 to 30 KiB a text, however many texts are looked up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from codiemb_pipeline.assemble.light_edits import Shape, jaccards, lightly_edited, shape_of
from codiemb_pipeline.params.assemble import AuditParams

if TYPE_CHECKING:
    from datasketch import MinHash, MinHashLSH

LEVELS = 4  # parts of the index by threshold
REMEMBERED = 1 << 18  # texts whose matches are remembered: documents come again and again


@dataclass(frozen=True)
class Duplicate:
    """A text of the index that a text equals, or nearly.

    Attributes:
        row: of the text in the index.
        similarity: Jaccard similarity of the n-grams; 1 where the keys are equal.
        estimate: MinHash's estimate of it; ``None`` where the keys are equal.
    """

    row: int
    similarity: float
    estimate: float | None


@dataclass
class _Level:
    """Texts of similar thresholds: hash tables, and the smallest and largest number of n-grams."""

    tables: MinHashLSH
    fewest: float = math.inf
    most: float = field(default=0)


class TextIndex:
    """Different texts, by number."""

    def __init__(self, params: AuditParams) -> None:
        from datasketch import MinHash, MinHashLSH

        self._params = params
        # The n-grams come as 32-bit hash values already.
        self._blank = MinHash(num_perm=params.permutations, seed=params.seed, hashfunc=int)
        lowest, highest = params.threshold.lowest, params.threshold.highest
        self._floors = np.linspace(lowest, highest, LEVELS)
        bands = (bands_for(floor, params.recall, params.permutations) for floor in self._floors)
        self._levels = [_Level(MinHashLSH(num_perm=params.permutations, params=shape)) for shape in bands]
        self._rows: dict[str, int] = {}
        self._near_rows: dict[int, tuple[Shape, np.ndarray]] = {}  # with hash values; of those that have a threshold
        self.find = lru_cache(maxsize=REMEMBERED)(self._find)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, text: str) -> int:
        """Return the row of ``text``; a new one where no equal text is in the index."""
        shape = shape_of(text, self._params)
        if shape.key in self._rows:
            return self._rows[shape.key]
        row = self._rows[shape.key] = len(self._rows)
        if shape.threshold is not None:
            level = self._levels[int(np.searchsorted(self._floors, shape.threshold, side="right")) - 1]
            minhash = self._minhash(shape)
            level.tables.insert(row, minhash)
            level.fewest, level.most = min(level.fewest, len(shape.grams)), max(level.most, len(shape.grams))
            self._near_rows[row] = (shape, minhash.hashvalues)
        self.find.cache_clear()
        return row

    def _find(self, text: str) -> tuple[Duplicate, ...]:
        """Return the texts that ``text`` equals or nearly equals, the most similar first."""
        shape = shape_of(text, self._params)
        same = self._rows.get(shape.key)
        exact = [] if same is None else [Duplicate(same, 1.0, None)]
        if shape.threshold is None:
            return tuple(exact)
        near = [duplicate for duplicate in self._near(shape) if duplicate.row != same]
        return (*exact, *sorted(near, key=lambda duplicate: (-duplicate.similarity, duplicate.row)))

    def _near(self, shape: Shape) -> Iterator[Duplicate]:
        minhash = self._minhash(shape)
        lowest, size = self._params.threshold.lowest, len(shape.grams)
        rows: list[int] = []
        for level in self._levels:
            # The similarity of two sets is at most the ratio of their sizes.
            if size >= lowest * level.fewest and lowest * size <= level.most:
                rows += level.tables.query(minhash)
        if not rows:
            return
        shapes, hashes = zip(*(self._near_rows[row] for row in rows), strict=True)
        similarities = jaccards(shape.grams, [other.grams for other in shapes])
        thresholds = np.minimum([other.threshold for other in shapes], shape.threshold)
        for place in np.flatnonzero(similarities >= thresholds):
            enough = similarities[place] >= self._params.threshold.highest
            if enough or lightly_edited(shape, shapes[place], self._params):
                estimate = (hashes[place] == minhash.hashvalues).mean()
                yield Duplicate(rows[place], float(similarities[place]), float(estimate))

    def _minhash(self, shape: Shape) -> MinHash:
        minhash = self._blank.copy()
        # Multiplying by an odd number spreads the n-grams over 64 bits, of which the upper half serves as hash value.
        minhash.update_batch((shape.grams * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)).tolist())
        return minhash


def bands_for(similarity: float, recall: float, permutations: int) -> tuple[int, int]:
    """Return how many bands of how many hash values find texts of this Jaccard similarity with probability ``recall``.

    ``r`` values agree with probability ``s ** r``, and one of ``b`` bands must: ``1 - (1 - s ** r) ** b``. The widest
    band for which the permutations suffice gives the fewest false candidates; where none does, as many as there are.
    """
    for width in range(16, 0, -1):
        bands = max(2, math.ceil(math.log1p(-recall) / math.log1p(-(similarity**width))))
        if bands * width <= permutations:
            return bands, width
    return permutations, 1
