"""Every text to be fed to the encoder, once, and its token ids."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from codiemb_pipeline.artifacts.assemble import TokenStore
from codiemb_pipeline.encoder.tokens import TextTokenizer

TEXTS_PER_BATCH = 1024


class TextRegister:
    """Numbers texts in the order of their first appearance; the same text behind another prefix is another text."""

    def __init__(self) -> None:
        self._ids: dict[str, dict[str, int]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, prefix: str, text: str) -> int:
        """Return the id of ``text`` behind ``prefix``; a new one on its first appearance."""
        ids = self._ids.setdefault(prefix, {})
        if text not in ids:
            ids[text] = self._count
            self._count += 1
        return ids[text]

    def batches(self, size: int) -> Iterator[tuple[str, list[str], list[int]]]:
        """Yield prefix, texts and ids of at most ``size`` texts that share a prefix."""
        for prefix, ids in self._ids.items():
            texts, numbers = list(ids), list(ids.values())
            for start in range(0, len(texts), size):
                yield prefix, texts[start : start + size], numbers[start : start + size]


def write_tokens(register: TextRegister, tokenizer: TextTokenizer, folder: Path) -> np.ndarray:
    """Tokenise all texts of ``register`` into a :class:`TokenStore` in ``folder``.

    Returns:
        Number of tokens of each text, int64 (texts,).
    """
    rows: list[np.ndarray] = [np.empty(0, dtype=np.int32)] * len(register)
    prompt_lengths = np.zeros(len(register), dtype=np.int32)
    with tqdm(total=len(register), desc="tokenise", unit="text", disable=None, leave=False) as bar:
        for prefix, texts, numbers in register.batches(TEXTS_PER_BATCH):
            token_ids, lengths = tokenizer.tokenize(texts, prefix)
            for number, ids in zip(numbers, token_ids, strict=True):
                rows[number] = np.asarray(ids, dtype=np.int32)
            prompt_lengths[numbers] = lengths
            bar.update(len(texts))
    TokenStore.write(folder, rows, prompt_lengths)
    return np.array([len(row) for row in rows], dtype=np.int64)
