"""Texts to token ids, and token ids to padded batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.params.encoder import EncoderParams, PaddingSide


@dataclass(frozen=True)
class TextTokenizer:
    """A Hugging Face tokenizer (``backend``) with our maximum length and prompts.

    ``end_id`` is the token id appended to every text, ``None`` to append none.
    """

    backend: Any
    params: EncoderParams
    prompts: PromptBook
    end_id: int | None = None

    @property
    def pad_id(self) -> int:
        """Token id of padding."""
        return 0 if self.backend.pad_token_id is None else int(self.backend.pad_token_id)  # masked either way

    def tokenize(self, texts: Sequence[str], prefix: str = "") -> tuple[list[list[int]], list[int]]:
        """Return the token ids of ``prefix + text`` with special tokens, cut to ``max_length``, and prompt lengths.

        A prompt length is the number of leading tokens, special ones included, whose offsets lie inside the prefix; 0
        without a prefix. ``end_id`` is appended after the cut, so that every text ends with it (the released code
        appends it as text, which the cut removes; reference, defect 9).
        """
        encoded = self.backend(
            [prefix + text for text in texts],
            truncation=True,
            max_length=self.params.max_length - (self.end_id is not None),
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=bool(prefix),
        )
        ids = encoded["input_ids"]
        if self.end_id is not None:
            ids = [[*row, self.end_id] for row in ids]
        if not prefix:
            return ids, [0] * len(ids)
        return ids, [
            next((index for index, (_, end) in enumerate(offsets) if end > len(prefix)), len(row))
            for offsets, row in zip(encoded["offset_mapping"], ids, strict=True)
        ]


@dataclass(frozen=True)
class TokenBatch:
    """Texts of similar length, padded on either side.

    Attributes:
        input_ids: int64 (n, T).
        attention_mask: int64 (n, T), 1 on tokens.
        prompt_lengths: int64 (n,), leading tokens that belong to the prompt, without padding.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    prompt_lengths: torch.Tensor

    @property
    def positions(self) -> torch.Tensor:
        """Position of each token in its text, from 0; int64 (n, T), undefined on padding."""
        return (self.attention_mask.cumsum(dim=1) - 1).clamp(min=0)

    def to(self, device: torch.device) -> Self:
        """Return the batch on ``device``."""
        tensors = (self.input_ids, self.attention_mask, self.prompt_lengths)
        return TokenBatch(*(tensor.to(device, non_blocking=True) for tensor in tensors))


def pad(
    rows: Sequence[Sequence[int] | np.ndarray],
    prompt_lengths: Sequence[int],
    pad_id: int,
    side: PaddingSide = "right",
) -> TokenBatch:
    """Return token rows as one batch, padded to the longest on ``side``."""
    width = max(len(row) for row in rows)
    input_ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    attention_mask = np.zeros((len(rows), width), dtype=np.int64)
    for index, row in enumerate(rows):
        columns = slice(len(row)) if side == "right" else slice(width - len(row), width)
        input_ids[index, columns] = row
        attention_mask[index, columns] = 1
    lengths = torch.as_tensor(np.asarray(prompt_lengths, dtype=np.int64))
    return TokenBatch(torch.from_numpy(input_ids), torch.from_numpy(attention_mask), lengths)


def plan_chunks(lengths: np.ndarray, *, tokens: int, max_padding: float) -> list[np.ndarray]:
    """Cut texts, sorted from long to short, into chunks with little padding.

    Args:
        lengths: number of tokens of each text, (n,).
        tokens: most padded tokens of a chunk; a single longer text is a chunk of its own.
        max_padding: largest share of padding in a chunk, in [0, 1).

    Returns:
        Indices into ``lengths``, one array per chunk; every index once.
    """
    order = np.argsort(-lengths, kind="stable")
    chunks, start, used = [], 0, 0
    for end, index in enumerate(order):
        padded = (end - start + 1) * int(lengths[order[start]])
        filled = used + int(lengths[index])
        if end > start and (padded > tokens or padded - filled > max_padding * padded):
            chunks.append(order[start:end])
            start, filled = end, int(lengths[index])
        used = filled
    if len(order):
        chunks.append(order[start:])
    return chunks
