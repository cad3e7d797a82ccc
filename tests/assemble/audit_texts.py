"""Sentences of invented words, Chinese-like and English-like, and the light edits that the audit must see through."""

import random
from typing import Any

from codiemb_pipeline.params.assemble import AuditParams

AUDIT: dict[str, Any] = {
    "mode": "report",
    "act_on": ["query", "document", "pair"],
    "ngram": {"syllables": 2, "letters": 3},
    "permutations": 256,
    "threshold": {"lowest": 0.33, "highest": 0.7, "characters": 2, "word_syllables": 3},
    "recall": 0.95,
    "seed": 49,
    "samples": 2,
}


def audit_params(**changes: Any) -> AuditParams:
    return AuditParams.parse({**AUDIT, **changes}, "assemble.audit")


class Language:
    """Words drawn by Zipf's law, so that texts share common words as real ones do."""

    def __init__(self, kind: str, seed: int) -> None:
        """``zh``: words of one to three Han characters; ``en``: of one to four syllables of two or three letters."""
        self.random = random.Random(seed)
        self.kind = kind
        # Two languages of one kind but different seeds, 0 and 1, share no character (zh) or no vowel (en).
        if kind == "zh":
            alphabet = [chr(0x4E00 + seed * 4000 + place) for place in range(1500)]
            sizes = [1, 2, 2, 2, 2, 3]
        else:
            vowels = ("ae", "iou")[seed]
            alphabet = [
                first + vowel + last for first in "bcdfghklmnprstvw" for vowel in vowels for last in ("", "n", "r")
            ]
            sizes = [1, 2, 2, 3, 3, 4]
        self.words = ["".join(self.random.choices(alphabet, k=self.random.choice(sizes))) for _ in range(2000)]
        self.weights = [1 / (place + 20) for place in range(len(self.words))]
        self.space = "" if kind == "zh" else " "

    def words_of(self, count: int) -> list[str]:
        return self.random.choices(self.words, self.weights, k=count)

    def edited(self, words: list[str], edit: str) -> str:
        """Return the text with one light edit."""
        text = self.space.join(words)
        if edit == "case":
            return text.swapcase()
        if edit == "punctuation":
            return f"“{words[0]}, {self.space.join(words[1:])}”！？"
        if edit == "width":
            return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else "\u3000" if c == " " else c for c in text)
        if edit == "word":
            place = self.random.randrange(len(words))
            return self.space.join([*words[:place], self.random.choice(self.words), *words[place + 1 :]])
        count = {"one character": 1, "two characters": 2}[edit]
        characters = list(text)
        for place in self.random.sample([place for place, c in enumerate(text) if c != " "], count):
            characters[place] = self.random.choice("".join(self.words).replace(characters[place], ""))
        return "".join(characters)


EXACT_EDITS = ("case", "punctuation", "width")
NEAR_EDITS = ("one character", "two characters", "word")
