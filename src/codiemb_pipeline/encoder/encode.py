"""Many texts to vectors, without gradient: equal texts once, sorted by length, in chunks of little padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from tqdm import tqdm

from codiemb_pipeline.artifacts.assemble import TokenStore
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.encoder.tokens import TokenBatch, pad, plan_chunks
from codiemb_pipeline.params.encoder import PaddingSide

MAX_PADDING = 0.1
TEXTS_PER_BLOCK = 1024


class TextBlocks:
    """Texts to encode, equal ones once, cut into blocks of neighbours in length.

    The blocks depend on the texts alone, and a block is encoded by itself: whoever encodes it gets the same numbers.

    Args:
        texts: any number of texts.

    Attributes:
        unique: the different texts.
        place: where each text stands in ``unique``, int64 (n,).
        blocks: places in ``unique``, each in one block, from short texts to long ones.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.unique = list(dict.fromkeys(texts))
        number = {text: place for place, text in enumerate(self.unique)}
        self.place = np.array([number[text] for text in texts], dtype=np.int64)
        # As far as characters tell the number of tokens.
        self.blocks = _blocks(np.argsort([len(text) for text in self.unique], kind="stable"))

    def texts_of(self, number: int) -> list[str]:
        """Return the texts of block ``number``."""
        return [self.unique[place] for place in self.blocks[number]]


def encode_block(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    prefix: str,
    tokens_per_chunk: int,
    bf16: bool = False,
    done: Callable[[int], object] | None = None,
) -> torch.Tensor:
    """Return the embeddings of ``prefix + text`` for the texts of one block, in its order.

    Args:
        encoder: in evaluation mode.
        texts: neighbours in length.
        prefix: from the encoder's prompts.
        tokens_per_chunk: padded tokens per forward pass.
        bf16: multiply in bfloat16 (autocast).
        done: told how many texts have just been encoded.

    Returns:
        float32 (b, D) on the CPU.
    """
    rows, prompt_lengths = encoder.tokenize(texts, prefix)
    return _encode_rows(encoder, rows, prompt_lengths, tokens_per_chunk, done, bf16=bf16)


def encode_texts(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    prefix: str = "",
    tokens_per_chunk: int,
    bf16: bool = False,
    progress: str | None = None,
) -> torch.Tensor:
    """Return the embeddings of ``prefix + text`` for every text.

    Args:
        encoder: left as it was found (training mode or not).
        texts: any number of texts; equal ones are encoded once.
        prefix: from the encoder's prompts.
        tokens_per_chunk: padded tokens per forward pass.
        bf16: multiply in bfloat16 (autocast).
        progress: label of a progress bar, or ``None`` for none.

    Returns:
        float32 (n, D) on the CPU, D the output width (:attr:`TextEncoder.output_width`).
    """
    parts = TextBlocks(texts)

    def encode(number: int, done: Callable[[int], object]) -> torch.Tensor:
        how = {"prefix": prefix, "tokens_per_chunk": tokens_per_chunk, "bf16": bf16, "done": done}
        return encode_block(encoder, parts.texts_of(number), **how)

    return _encode_blocks(encoder, parts.blocks, encode, progress)[torch.from_numpy(parts.place)]


def encode_ids(
    encoder: Encoder,
    store: TokenStore,
    texts: np.ndarray,
    *,
    tokens_per_chunk: int,
    progress: str | None = None,
) -> torch.Tensor:
    """Return the embeddings of texts already tokenised.

    Args:
        encoder: left as it was found (training mode or not).
        store: the token ids.
        texts: text ids, int64 (n,); equal ones are encoded once.
        tokens_per_chunk: padded tokens per forward pass.
        progress: label of a progress bar, or ``None`` for none.

    Returns:
        float32 (n, D) on the CPU, D the output width (:attr:`TextEncoder.output_width`).
    """
    unique, place = np.unique(texts, return_inverse=True)
    blocks = _blocks(np.argsort(store.lengths(unique), kind="stable"))

    def encode(number: int, done: Callable[[int], object]) -> torch.Tensor:
        ids = unique[blocks[number]]
        rows = [store[int(text)] for text in ids]
        return _encode_rows(encoder, rows, store.prompt_lengths(ids), tokens_per_chunk, done)

    return _encode_blocks(encoder, blocks, encode, progress)[torch.from_numpy(place)]


def _blocks(order: np.ndarray) -> list[np.ndarray]:
    return [order[start : start + TEXTS_PER_BLOCK] for start in range(0, len(order), TEXTS_PER_BLOCK)]


def _encode_blocks(
    encoder: Encoder,
    blocks: Sequence[np.ndarray],
    encode: Callable[[int, Callable[[int], object]], torch.Tensor],
    progress: str | None,
) -> torch.Tensor:
    """Encode all blocks; row i of the result is text i."""
    count = sum(map(len, blocks))
    embeddings = torch.empty(count, encoder.model.output_width)
    training = encoder.model.training
    encoder.model.eval()
    try:
        with tqdm(total=count, desc=progress, unit="text", disable=None if progress else True, leave=False) as bar:
            for number, block in enumerate(blocks):
                embeddings[torch.from_numpy(block)] = encode(number, bar.update)
    finally:
        encoder.model.train(training)
    return embeddings


@torch.inference_mode()
def _encode_rows(
    encoder: Encoder,
    rows: Sequence[Sequence[int] | np.ndarray],
    prompt_lengths: Sequence[int],
    tokens_per_chunk: int,
    done: Callable[[int], object] | None,
    *,
    bf16: bool = False,
) -> torch.Tensor:
    """Encode one block of token rows; row i of the result is row i."""
    embeddings = torch.empty(len(rows), encoder.model.output_width)
    lengths = np.array([len(row) for row in rows])
    for chunk in plan_chunks(lengths, tokens=tokens_per_chunk, max_padding=MAX_PADDING):
        batch = batch_of(rows, prompt_lengths, chunk, encoder.pad_id, encoder.params.padding_side)
        with torch.autocast(encoder.device.type, dtype=torch.bfloat16, enabled=bf16):
            full = encoder.model([batch.to(encoder.device)])[0]
        output = encoder.model.output(full.float())
        embeddings[torch.from_numpy(chunk)] = output.cpu()
        if done is not None:
            done(len(chunk))
    return embeddings


def batch_of(
    rows: Sequence[Sequence[int] | np.ndarray],
    prompt_lengths: Sequence[int],
    chunk: np.ndarray,
    pad_id: int,
    side: PaddingSide = "right",
) -> TokenBatch:
    """Return the rows at positions ``chunk`` as one padded batch."""
    lengths = [int(prompt_lengths[number]) for number in chunk]
    return pad([rows[number] for number in chunk], lengths, pad_id, side)
