"""Texts remembered by a digest, each with a number: 20 bytes a place, of which at most 3 in 5 are taken.

A ``dict`` of the same takes more than twice as much, too much for tens of millions of documents. Knows nothing of
what the texts are.
"""

from __future__ import annotations

import hashlib
from array import array

FIRST_PLACES = 2**16
HALF = 2**64


def digest_of(text: str) -> bytes:
    """Return 16 bytes that stand for ``text``; no two of any realistic number of texts share them."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class NumberByText:
    """Numbers by text; the first number given to a text stays. Open addressing with linear probing."""

    def __init__(self, places: int = FIRST_PLACES) -> None:
        self._taken = 0
        self._clear(places)

    def __len__(self) -> int:
        return self._taken

    def get(self, text: str) -> int | None:
        """Return the number of ``text``, ``None`` when it has none."""
        number = self._numbers[self._place(*_halves(text))]
        return None if number < 0 else number

    def setdefault(self, text: str, number: int) -> int:
        """Return the number of ``text``, which becomes ``number`` (0 or more, under 2**31) when it has none."""
        high, low = _halves(text)
        place = self._place(high, low)
        if self._numbers[place] >= 0:
            return self._numbers[place]
        self._highs[place], self._lows[place], self._numbers[place] = high, low, number
        self._taken += 1
        if self._taken * 5 > len(self._numbers) * 3:
            self._grow()
        return number

    def _place(self, high: int, low: int) -> int:
        """Return where the two halves of a digest stand, or the free place where they would."""
        highs, lows, numbers, mask = self._highs, self._lows, self._numbers, self._mask
        place = high & mask
        while numbers[place] >= 0 and (highs[place] != high or lows[place] != low):
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        highs, lows, numbers = self._highs, self._lows, self._numbers
        self._clear(2 * len(numbers))
        for high, low, number in zip(highs, lows, numbers, strict=True):
            if number >= 0:
                place = self._place(high, low)
                self._highs[place], self._lows[place], self._numbers[place] = high, low, number

    def _clear(self, places: int) -> None:
        self._mask = places - 1
        self._highs, self._lows = (array("Q", bytes(8)) * places for _ in range(2))
        self._numbers = array("i", [-1]) * places


def _halves(text: str) -> tuple[int, int]:
    return divmod(int.from_bytes(digest_of(text), "big"), HALF)
