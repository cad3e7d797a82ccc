"""Finds texts of an index that are equal or nearly equal to a text: keys, and MinHash with LSH (datasketch).

Equal here means of one coarse key (``texts.coarse_key``): case, punctuation, symbols, spaces and width do not count, so
that texts are found which for the rest of the pipeline (``texts.text_key``) are different. Near duplicates
differ by a light edit, one word or a few characters, or share most of their character n-grams.

Every match is verified: candidates of LSH are compared n-gram by n-gram and, if needed, word by word. ``recall`` bounds
the share of matches that are missed. Texts with a high threshold are indexed apart from those with a low one: they need
fewer hash tables, and give fewer false candidates.

Memory grows with the index alone, 10 to 30 KiB a text, however many texts are looked up.
"""

import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np
from rapidfuzz.distance import Levenshtein

from codiemb_pipeline.params.assemble import AuditParams, GramParams
from codiemb_pipeline.texts import coarse_key

if TYPE_CHECKING:
    from datasketch import MinHash, MinHashLSH

LEVELS = 4  # parts of the index by threshold
REMEMBERED = 1 << 18  # texts whose matches are remembered: documents come again and again

# Scripts in which one character writes a syllable or a word: Hangul, Han, kana and related ones.
SYLLABLES = (
    (0x1100, 0x11FF), (0x2E80, 0xA4CF), (0xA960, 0xA97F), (0xAC00, 0xD7FF), (0xF900, 0xFAFF), (0x1B000, 0x1B16F),
    (0x20000, 0x3FFFF),
)  # fmt: skip
EDGES = np.array([edge for first, last in SYLLABLES for edge in (first, last + 1)], dtype=np.uint32)
_RANGES = "".join(f"{chr(first)}-{chr(last)}" for first, last in SYLLABLES)
WORD_OR_SYLLABLE = re.compile(f"[^\\W_{_RANGES}]+|[{_RANGES}]")
SYLLABLE = re.compile(f"[{_RANGES}]")
HALF = 0.5  # least similarity after one changed character
BITS = 21  # of a code point, so that three fit one 64-bit number


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

    tables: "MinHashLSH"
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

    def _near(self, shape: "Shape") -> Iterator[Duplicate]:
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
        for index in np.flatnonzero(similarities >= thresholds):
            enough = similarities[index] >= self._params.threshold.highest
            if enough or lightly_edited(shape, shapes[index], self._params):
                estimate = (hashes[index] == minhash.hashvalues).mean()
                yield Duplicate(rows[index], float(similarities[index]), float(estimate))

    def _minhash(self, shape: "Shape") -> "MinHash":
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


@dataclass(frozen=True, slots=True)
class Shape:
    """What is compared of a text.

    Attributes:
        key: the text's key.
        words: its words and syllables; empty for texts so long that a changed word does not matter.
        grams: its different n-grams as sorted numbers, uint64 (n,).
        threshold: least Jaccard similarity after a light edit; ``None`` where only equality counts.
    """

    key: str
    words: tuple[str, ...]
    grams: np.ndarray
    threshold: float | None


def shape_of(text: str, params: AuditParams) -> Shape:
    """Return the n-grams of ``text`` and the threshold for its length."""
    key = coarse_key(text)
    words = tuple(WORD_OR_SYLLABLE.findall(unicodedata.normalize("NFKC", text).casefold()))
    codes = np.frombuffer(key.encode("utf-32-le"), dtype="<u4")
    # A code point lies in one of the ranges if an odd number of their edges are not above it.
    syllables = np.searchsorted(EDGES, codes, side="right") % 2 == 1
    grams = _grams(codes, syllables, params.ngram)
    threshold = _threshold(words, len(grams), syllables.any(), params)
    is_short = threshold is not None and threshold < params.threshold.highest
    return Shape(key, words if is_short else (), grams, threshold)


def jaccards(grams: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """Return the Jaccard similarity of ``grams`` and each of ``others``, float64 (others,); sorted, none empty."""
    sizes = np.array([len(other) for other in others])
    everything = np.concatenate(others)
    nearest = np.minimum(np.searchsorted(grams, everything), len(grams) - 1)
    shared = np.add.reduceat(grams[nearest] == everything, np.cumsum(sizes) - sizes, dtype=np.int64)
    return shared / (len(grams) + sizes - shared)


def lightly_edited(shape: Shape, other: Shape, params: AuditParams) -> bool:
    """Return whether ``other`` is ``shape`` with a few characters or one word replaced, inserted or deleted.

    The word must be less than half of the text: two words and two others that share one are different texts.
    """
    most = params.threshold.characters
    if Levenshtein.distance(shape.key, other.key, score_cutoff=most) <= most:
        return True
    first, second = shape.words, other.words
    start = _common(first, second)
    end = _common(first[start:][::-1], second[start:][::-1])
    return all(
        2 * len(rest) < len(words) and (len(rest) <= 1 or _is_one_word(rest, params.threshold.word_syllables))
        for words in (first, second)
        for rest in [words[start : len(words) - end]]
    )


def _common(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """Return the number of equal words at the start."""
    return sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(first, second, strict=False)))


def _is_one_word(words: tuple[str, ...], most_syllables: int) -> bool:
    return len(words) <= most_syllables and all(SYLLABLE.match(word) for word in words)


def _grams(codes: np.ndarray, syllables: np.ndarray, ngram: GramParams) -> np.ndarray:
    """Return the n-grams of a key: all short ones made of syllables only, and a long one from every other position."""
    found, covered = [], np.zeros(len(codes), dtype=bool)
    for length in range(1, ngram.syllables + 1):
        packed = _windows(codes, length)
        covered = np.ones(len(packed), dtype=bool)
        for start in range(length):
            covered &= syllables[start : start + len(packed)]
        found.append(packed[covered])
    long = _windows(codes, ngram.letters)
    started = np.zeros(len(codes), dtype=bool)
    started[: len(covered)] = covered
    return np.unique(np.concatenate([*found, long[~started[: len(long)]]]))


def _windows(codes: np.ndarray, length: int) -> np.ndarray:
    """Return each ``length`` code points in a row as one number; numbers of different lengths are different."""
    count = max(0, len(codes) - length + 1)
    packed = np.zeros(count, dtype=np.uint64)
    for start in range(length):
        packed = packed << np.uint64(BITS) | codes[start : start + count].astype(np.uint64)
    return packed


def _threshold(words: tuple[str, ...], grams: int, has_syllables: bool, params: AuditParams) -> float | None:
    """Return the Jaccard similarity after the heaviest light edit, from ``lowest`` to ``highest``.

    An edit that replaces ``k`` of ``m`` n-grams leaves ``(m - k) / (m + k)``. A single word has no near duplicate (a
    changed letter makes another word), nor has a text so short that one changed character leaves less than ``HALF``.
    """
    limits = params.threshold
    letters = [len(word) for word in words if not SYLLABLE.match(word)]
    lengths = [params.ngram.letters] if letters else range(1, params.ngram.syllables + 1)
    word = max([*letters, limits.word_syllables if has_syllables else 0])
    # A run of c characters is part of c + n - 1 n-grams.
    one, one_word = (sum(run + length - 1 for length in lengths) for run in (1, word))
    left = [(grams - taken) / (grams + taken) for taken in (one, one_word, limits.characters * one)]
    single_word = len(letters) == 1 and not has_syllables
    if single_word or left[0] < HALF:
        return None
    return min(max(min(left), limits.lowest), limits.highest)
