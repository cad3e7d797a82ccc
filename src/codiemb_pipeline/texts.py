"""When two texts count as the same: the key used for splits, duplicates and overlap between sets. Alters no text."""

import hashlib
import re
import unicodedata

_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")  # \w is what str.isalnum accepts, and the underscore


def text_key(text: str) -> str:
    """Return ``text`` after NFKC and case folding with everything but letters and digits removed.

    A text without any letter or digit keeps its folded form, trimmed, so that ``"?"`` and ``"!"`` stay apart.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    letters = folded if folded.isalnum() else "".join(filter(str.isalnum, folded))
    return letters or folded.strip()


def pair_key(text_a: str, text_b: str) -> tuple[str, str]:
    """Return the key of a pair of texts, the same in either order."""
    first, second = sorted((text_key(text_a), text_key(text_b)))
    return first, second


def hash_share(*parts: object) -> float:
    """Return a number in [0, 1) that depends on ``parts`` alone: the same on every machine and in every run."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
