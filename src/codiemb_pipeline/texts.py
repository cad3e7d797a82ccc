"""When two texts count as the same: the key of splits, duplicates, mining, training masks and overlap between sets.

Alters no text.
"""

import hashlib
import unicodedata

DIGEST = "S16"  # numpy ignores trailing zero bytes, which keeps digests of one length apart


def text_key(text: str) -> str:
    """Return ``text`` after NFKC, case folding and white space made single spaces, none at the ends.

    Two texts are equal if and only if their keys are. All that is left counts: combining marks (vowel signs, tones,
    points, accents), signs, punctuation, symbols and emoji.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    normal = unicodedata.normalize("NFKC", text)
    folded = normal.casefold()
    # Folding may leave a letter and its mark apart that NFKC composes.
    return " ".join((folded if folded == normal else unicodedata.normalize("NFKC", folded)).split())


def coarse_key(text: str) -> str:
    """Return the letters, marks and digits of ``text`` after NFKC and case folding: for the contamination audit alone.

    It looks through punctuation, symbols and spaces, which a copy of a benchmark may have lost: ``C`` and ``C++`` share
    it. A text without any letter or digit keeps its :func:`text_key`.
    """
    folded = text_key(text)
    if folded.isalnum():
        return folded
    return "".join(letter for letter in folded if unicodedata.category(letter)[0] in "LMN") or folded


def text_digest(text: str) -> bytes:
    """Return 128 bits of the :func:`text_key`, for arrays of type ``DIGEST``."""
    return hashlib.blake2b(text_key(text).encode(), digest_size=16).digest()


def pair_key(text_a: str, text_b: str) -> tuple[str, str]:
    """Return the key of a pair of texts, the same in either order."""
    first, second = sorted((text_key(text_a), text_key(text_b)))
    return first, second


def hash_share(*parts: object) -> float:
    """Return a number in [0, 1) that depends on ``parts`` alone: the same on every machine and in every run."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
