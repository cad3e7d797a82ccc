"""Many texts to vectors, without gradient: equal texts once, sorted by length, and those that are stored not at all.

On the CPU the texts of a forward pass are of equal length, and enough that MKL multiplies them all alike. A vector then
has the same bits whatever texts it is encoded with and in whatever number of threads (measured:
tests/encoder/test_embedding_store.py), which the embedding store relies on, and no padding is multiplied. On a GPU a
pass has little padding, and the last bits vary.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch

from codiemb_pipeline.artifacts.assemble import TokenStore
from codiemb_pipeline.encoder.embedding_store import EmbeddingStore, text_keys
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.encoder.tokens import pad, plan_chunks
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.progress import ProgressBar

MAX_PADDING = 0.1
LEAST_TOKENS = 128
"""Tokens of a forward pass on the CPU, filled up with copies of a text: with fewer, kernels round in other ways."""
TEXTS_PER_BLOCK = 1024

Progress = Callable[[int], object]

tokens = Counter[str]()
"""Tokens of this process: ``encoded``, and ``known`` from the embedding store."""


def encoded() -> str:
    """Return what this process encoded, for the log."""
    all_tokens = max(tokens.total(), 1)
    share = tokens["known"] / all_tokens
    return f"{tokens['encoded']:,} tokens encoded, {tokens['known']:,} ({share:.0%}) known from other work"


def encode_texts(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    prefix: str = "",
    tokens_per_chunk: int,
    bf16: bool = False,
    progress: str | None = None,
    known: EmbeddingStore | None = None,
) -> torch.Tensor:
    """Return the embeddings of ``prefix + text`` for every text; equal texts are encoded once.

    Args:
        encoder: its mode (training or not) is restored.
        texts: any number of texts.
        prefix: from the encoder's prompts.
        tokens_per_chunk: padded tokens per forward pass.
        bf16: multiply in bfloat16 (autocast).
        progress: label of a progress bar, or ``None`` for none.
        known: the encoder's stored embeddings, which are read and added to; ``None`` for none.

    Returns:
        float32 (n, D) on the CPU, D the output width (:attr:`TextEncoder.output_width`).
    """
    unique = list(dict.fromkeys(texts))
    index = {text: number for number, text in enumerate(unique)}

    def encode(block: np.ndarray, done: Progress) -> torch.Tensor:
        options = {"prefix": prefix, "tokens_per_chunk": tokens_per_chunk, "bf16": bf16, "done": done, "known": known}
        return encode_block(encoder, [unique[number] for number in block], **options)

    embeddings = _encode_blocks(encoder, [len(text) for text in unique], encode, progress)  # characters predict tokens
    return embeddings[torch.tensor([index[text] for text in texts], dtype=torch.int64)]


def encode_ids(
    encoder: Encoder,
    store: TokenStore,
    texts: np.ndarray,
    *,
    tokens_per_chunk: int,
    progress: str | None = None,
    known: EmbeddingStore | None = None,
) -> torch.Tensor:
    """Return the embeddings of texts of a token store, given as text ids, int64 (n,); see :func:`encode_texts`."""
    unique, index = np.unique(texts, return_inverse=True)

    def encode(block: np.ndarray, done: Progress) -> torch.Tensor:
        ids = unique[block]
        rows = [store[int(text)] for text in ids]
        return _encode_rows(encoder, rows, store.prompt_lengths(ids), tokens_per_chunk, done, known=known)

    return _encode_blocks(encoder, store.lengths(unique), encode, progress)[torch.from_numpy(index)]


def encode_block(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    prefix: str,
    tokens_per_chunk: int,
    bf16: bool = False,
    done: Progress | None = None,
    known: EmbeddingStore | None = None,
) -> torch.Tensor:
    """Return the embeddings of one block of texts, neighbours in length; see :func:`encode_texts`.

    The encoder must be in evaluation mode. ``done`` is called with the number of texts after each forward pass.
    """
    rows, prompt_lengths = encoder.tokenize(texts, prefix)
    return _encode_rows(encoder, rows, prompt_lengths, tokens_per_chunk, done, bf16=bf16, known=known)


def _encode_blocks(
    encoder: Encoder,
    lengths: Sequence[int] | np.ndarray,
    encode: Callable[[np.ndarray, Progress], torch.Tensor],
    progress: str | None,
) -> torch.Tensor:
    """Encode texts of these lengths block by block; row i of the result is text i."""
    order = np.argsort(lengths, kind="stable")
    embeddings = torch.empty(len(order), encoder.model.output_width)
    training = encoder.model.training
    encoder.model.eval()
    try:
        with ProgressBar(total=len(order), desc=progress, unit="texts", disable=progress is None) as bar:
            for start in range(0, len(order), TEXTS_PER_BLOCK):
                block = order[start : start + TEXTS_PER_BLOCK]
                embeddings[torch.from_numpy(block)] = encode(block, bar.update)
    finally:
        encoder.model.train(training)
    return embeddings


@torch.inference_mode()
def _encode_rows(
    encoder: Encoder,
    rows: Sequence[Sequence[int] | np.ndarray],
    prompt_lengths: Sequence[int],
    tokens_per_chunk: int,
    done: Progress | None,
    *,
    bf16: bool = False,
    known: EmbeddingStore | None = None,
) -> torch.Tensor:
    """Return the embeddings of token rows, known or encoded; row i of the result is row i."""
    embeddings = torch.empty(len(rows), encoder.model.output_width)
    lengths, prompt_lengths = np.array([len(row) for row in rows]), np.asarray(prompt_lengths)
    if known is None:
        missing = np.arange(len(rows))
    else:
        keys = text_keys(encoder, rows, prompt_lengths)
        found = known.read(keys, embeddings)
        missing = np.flatnonzero(~found)
        tokens["known"] += int(lengths[found].sum())
        if done is not None:
            done(int(found.sum()))
    tokens["encoded"] += int(lengths[missing].sum())
    max_padding = 0.0 if encoder.device.type == "cpu" else MAX_PADDING
    pad_id, side = encoder.pad_id, encoder.params.padding_side
    for part in plan_chunks(lengths[missing], tokens=tokens_per_chunk, max_padding=max_padding):
        chunk = missing[part]
        if encoder.device.type == "cpu":
            copies = -(-LEAST_TOKENS // int(lengths[chunk[0]])) - len(chunk)
            chunk = np.concatenate([chunk, chunk[:1].repeat(max(0, copies))])
        batch = pad([rows[index] for index in chunk], prompt_lengths[chunk], pad_id, side)
        with torch.autocast(encoder.device.type, dtype=torch.bfloat16, enabled=bf16):
            full = encoder.model([batch.to(encoder.device)])[0]
        embeddings[torch.from_numpy(missing[part])] = encoder.model.output(full[: len(part)].float()).cpu()
        if done is not None:
            done(len(part))
    if not embeddings.isfinite().all():
        broken = int((~embeddings.isfinite().all(dim=1)).sum())
        raise InputError(
            f"{encoder.params.path}: expected finite embeddings, found NaN or infinity in {broken} of {len(rows)} "
            f"texts, though the weights were finite when they were loaded: training diverged (lower the learning rate) "
            f"or numbers overflow (precision: fp32)"
        )
    if known is not None:
        known.add(keys[missing], embeddings[torch.from_numpy(missing)])
    return embeddings
