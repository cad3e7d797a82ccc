"""What of a text survives a light edit: its character n-grams, and when another text is that text lightly edited.

Light edits change one word or a few characters. Those of case, punctuation, spaces and width change nothing here: they
are gone from a text's key (``texts.text_key``).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from rapidfuzz.distance import Levenshtein

from codiemb_pipeline.params.assemble import AuditParams, GramParams
from codiemb_pipeline.texts import text_key

# Scripts of which one character writes a syllable or a word: Hangul, Han, kana and their kin.
SYLLABLES = (
    (0x1100, 0x11FF), (0x2E80, 0xA4CF), (0xA960, 0xA97F), (0xAC00, 0xD7FF), (0xF900, 0xFAFF), (0x1B000, 0x1B16F),
    (0x20000, 0x3FFFF),
)  # fmt: skip
EDGES = np.array([edge for first, last in SYLLABLES for edge in (first, last + 1)], dtype=np.uint32)
_RANGES = "".join(f"{chr(first)}-{chr(last)}" for first, last in SYLLABLES)
WORD_OR_SYLLABLE = re.compile(f"[^\\W_{_RANGES}]+|[{_RANGES}]")
SYLLABLE = re.compile(f"[{_RANGES}]")
HALF = 0.5  # what one changed character must leave
BITS = 21  # of a code point, so that three fit one 64-bit number


@dataclass(frozen=True, slots=True)
class Shape:
    """A text as the search for near duplicates sees it.

    Attributes:
        key: the text without all that does not count.
        words: the text in words and syllables, as long as a changed word matters; none of longer texts.
        grams: its different n-grams as sorted numbers, uint64 (n,).
        threshold: Jaccard similarity that a light edit leaves at least; ``None`` where only equality counts.
    """

    key: str
    words: tuple[str, ...]
    grams: np.ndarray
    threshold: float | None


def shape_of(text: str, params: AuditParams) -> Shape:
    """Return the n-grams of ``text`` and the threshold that its length asks for."""
    key = text_key(text)
    words = tuple(WORD_OR_SYLLABLE.findall(unicodedata.normalize("NFKC", text).casefold()))
    codes = np.frombuffer(key.encode("utf-32-le"), dtype="<u4")
    # A code point lies in one of the ranges if an odd number of their edges are not above it.
    syllables = np.searchsorted(EDGES, codes, side="right") % 2 == 1
    grams = _grams(codes, syllables, params.ngram)
    threshold = _threshold(words, len(grams), syllables.any(), params)
    is_short = threshold is not None and threshold < params.threshold.highest
    return Shape(key, words if is_short else (), grams, threshold)


def jaccards(grams: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    """Return what ``grams`` shares with each of ``others`` of all that is in either, float64 (others,) in [0, 1].

    All sets are sorted and none is empty.
    """
    sizes = np.array([len(other) for other in others])
    everything = np.concatenate(others)
    places = np.minimum(np.searchsorted(grams, everything), len(grams) - 1)
    shared = np.add.reduceat(grams[places] == everything, np.cumsum(sizes) - sizes, dtype=np.int64)
    return shared / (len(grams) + sizes - shared)


def lightly_edited(shape: Shape, other: Shape, params: AuditParams) -> bool:
    """Return whether ``other`` is ``shape`` with a few characters or one word replaced, put in or left out.

    The word must be less than half of the text: there is no telling two words from two others that share one.
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
    """Return with how many equal words both begin."""
    return sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(first, second, strict=False)))


def _is_one_word(words: tuple[str, ...], most_syllables: int) -> bool:
    return len(words) <= most_syllables and all(SYLLABLE.match(word) for word in words)


def _grams(codes: np.ndarray, syllables: np.ndarray, ngram: GramParams) -> np.ndarray:
    """Return the n-grams of a key: all short ones of syllables alone, and from every other place a long one."""
    found, covered = [], np.zeros(len(codes), dtype=bool)
    for length in range(1, ngram.syllables + 1):
        packed = _windows(codes, length)
        covered = np.ones(len(packed), dtype=bool)
        for place in range(length):
            covered &= syllables[place : place + len(packed)]
        found.append(packed[covered])
    long = _windows(codes, ngram.letters)
    spoken_for = np.zeros(len(codes), dtype=bool)
    spoken_for[: len(covered)] = covered
    return np.unique(np.concatenate([*found, long[~spoken_for[: len(long)]]]))


def _windows(codes: np.ndarray, length: int) -> np.ndarray:
    """Return each ``length`` code points in a row as one number; numbers of different lengths are different."""
    count = max(0, len(codes) - length + 1)
    packed = np.zeros(count, dtype=np.uint64)
    for place in range(length):
        packed = packed << np.uint64(BITS) | codes[place : place + count].astype(np.uint64)
    return packed


def _threshold(words: tuple[str, ...], grams: int, has_syllables: bool, params: AuditParams) -> float | None:
    """Return the Jaccard similarity that the heaviest light edit leaves, ``lowest`` at least and ``highest`` at most.

    An edit that takes ``k`` of ``m`` n-grams away brings as many others, so ``(m - k) / (m + k)`` stays. A single word,
    and a text of which one character is half, has no near duplicate: a changed letter makes another word.
    """
    limits = params.threshold
    letters = [len(word) for word in words if not SYLLABLE.match(word)]
    lengths = [params.ngram.letters] if letters else range(1, params.ngram.syllables + 1)
    word = max([*letters, limits.word_syllables if has_syllables else 0])
    # A stretch of characters is part of as many n-grams as it has characters, and of n - 1 more.
    one, one_word = (sum(stretch + length - 1 for length in lengths) for stretch in (1, word))
    left = [(grams - taken) / (grams + taken) for taken in (one, one_word, limits.characters * one)]
    single_word = len(letters) == 1 and not has_syllables
    if single_word or left[0] < HALF:
        return None
    return min(max(min(left), limits.lowest), limits.highest)
