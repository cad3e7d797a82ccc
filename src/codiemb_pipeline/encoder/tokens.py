"""Texts to token ids, and token ids to padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.params.encoder import EncoderParams, PaddingSide


@dataclass(frozen=True)
class TextTokenizer:
    """A Hugging Face tokenizer under our settings of length and prompts.

    Attributes:
        backend: the tokenizer.
        params: the ``encoder`` section.
        prompts: rendered from it.
        end_id: token id put after every text; ``None`` where none is wanted or the backend puts it there itself.
    """

    backend: Any
    params: EncoderParams
    prompts: PromptBook
    end_id: int | None = None

    @property
    def pad_id(self) -> int:
        """Token id that fills up rows."""
        return 0 if self.backend.pad_token_id is None else int(self.backend.pad_token_id)  # masked either way

    def tokenize(self, texts: Sequence[str], prefix: str = "") -> tuple[list[list[int]], list[int]]:
        """Return the token ids of ``prefix + text`` with special tokens, cut to ``max_length``, and prompt lengths.

        A prompt length is the number of leading tokens, special ones included, that lie wholly within the prefix by
        their offsets; 0 without a prefix. ``end_id`` is put after the cut, as an id, so that no text is without it (the
        released code appends it as text, which the cut removes; reference, defect 9).
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
        ends = [] if self.end_id is None else [self.end_id]
        ids = [row + ends for row in ids] if ends else ids
        if not prefix:
            return ids, [0] * len(ids)
        no_place = [(0, 0)] * len(ends)  # as special tokens have it
        return ids, [_leading_within([*offsets, *no_place], len(prefix)) for offsets in encoded["offset_mapping"]]


def _leading_within(offsets: Sequence[tuple[int, int]], end: int) -> int:
    """Return how many leading tokens end at or before character ``end``."""
    for count, (_, token_end) in enumerate(offsets):
        if token_end > end:
            return count
    return len(offsets)


@dataclass(frozen=True)
class TokenBatch:
    """Texts of similar length, padded on either side.

    Attributes:
        input_ids: int64 (n, T).
        attention_mask: int64 (n, T), 1 on tokens.
        prompt_lengths: int64 (n,), leading tokens that are prompt, padding not counted.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    prompt_lengths: torch.Tensor

    @property
    def positions(self) -> torch.Tensor:
        """Each token's place in its text, from 0 at the first token; int64 (n, T), of no meaning on padding."""
        return (self.attention_mask.cumsum(dim=1) - 1).clamp(min=0)

    def to(self, device: torch.device) -> TokenBatch:
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
    for number, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        input_ids[number, place] = row
        attention_mask[number, place] = 1
    lengths = torch.as_tensor(np.asarray(prompt_lengths, dtype=np.int64))
    return TokenBatch(torch.from_numpy(input_ids), torch.from_numpy(attention_mask), lengths)


def plan_chunks(lengths: np.ndarray, *, tokens: int, max_padding: float) -> list[np.ndarray]:
    """Cut texts, sorted from long to short, into chunks of few padded tokens.

    A chunk holds at most ``tokens`` padded tokens (one text at least) and at most the share ``max_padding`` of padding.

    Args:
        lengths: number of tokens of each text, (n,).
        tokens: budget of one chunk.
        max_padding: in [0, 1).

    Returns:
        Positions in ``lengths``, one array per chunk; every position stands in exactly one.
    """
    order = np.argsort(-lengths, kind="stable")
    chunks, start, used = [], 0, 0
    for end, position in enumerate(order):
        padded = (end - start + 1) * int(lengths[order[start]])
        filled = used + int(lengths[position])
        if end > start and (padded > tokens or padded - filled > max_padding * padded):
            chunks.append(order[start:end])
            start, filled = end, int(lengths[position])
        used = filled
    if len(order):
        chunks.append(order[start:])
    return chunks
