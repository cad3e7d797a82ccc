"""Many texts to vectors, without gradient: equal texts once, sorted by length, in chunks of little padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from tqdm import tqdm

from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.encoder.tokens import TokenBatch, pad, plan_chunks
from codiemb_pipeline.model_input import TokenStore
from codiemb_pipeline.params.encoder import PaddingSide

MAX_PADDING = 0.1
TEXTS_PER_BLOCK = 16384


def encode_texts(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    prefix: str = "",
    tokens_per_chunk: int,
    progress: str | None = None,
) -> torch.Tensor:
    """Return the embeddings of ``prefix + text`` for every text.

    Args:
        encoder: left as it was found (training mode or not).
        texts: any number of texts; equal ones are encoded once.
        prefix: from the encoder's prompts.
        tokens_per_chunk: padded tokens per forward pass.
        progress: label of a progress bar, or ``None`` for none.

    Returns:
        float32 (n, D) on the CPU, D the output width (:attr:`TextEncoder.output_width`).
    """
    unique = list(dict.fromkeys(texts))
    place = {text: number for number, text in enumerate(unique)}

    def rows(block: np.ndarray) -> tuple[list[list[int]], Sequence[int]]:
        return encoder.tokenize([unique[number] for number in block], prefix)

    # Neighbours in length share a block, as far as characters tell the number of tokens.
    order = np.argsort([len(text) for text in unique], kind="stable")
    embeddings = _encode(encoder, order, rows, tokens_per_chunk, progress)
    return embeddings[torch.tensor([place[text] for text in texts], dtype=torch.long)]


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

    def rows(block: np.ndarray) -> tuple[list[np.ndarray], Sequence[int]]:
        ids = unique[block]
        return [store[int(text)] for text in ids], store.prompt_lengths(ids)

    order = np.argsort(store.lengths(unique), kind="stable")
    return _encode(encoder, order, rows, tokens_per_chunk, progress)[torch.from_numpy(place)]


def _encode(
    encoder: Encoder,
    order: np.ndarray,
    rows: Callable[[np.ndarray], tuple[Sequence[Sequence[int] | np.ndarray], Sequence[int]]],
    tokens_per_chunk: int,
    progress: str | None,
) -> torch.Tensor:
    """Encode texts ``order`` block by block; row i of the result is text i."""
    training = encoder.model.training
    encoder.model.eval()
    padding = encoder.pad_id, encoder.params.padding_side
    embeddings = torch.empty(len(order), encoder.model.output_width)
    try:
        bar = tqdm(total=len(order), desc=progress, unit="text", disable=None if progress else True, leave=False)
        with bar, torch.inference_mode():
            for start in range(0, len(order), TEXTS_PER_BLOCK):
                block = order[start : start + TEXTS_PER_BLOCK]
                token_rows, prompt_lengths = rows(block)
                lengths = np.array([len(row) for row in token_rows])
                for chunk in plan_chunks(lengths, tokens=tokens_per_chunk, max_padding=MAX_PADDING):
                    batch = batch_of(token_rows, prompt_lengths, chunk, *padding).to(encoder.device)
                    output = encoder.model.output(encoder.model([batch])[0].float())
                    embeddings[torch.from_numpy(block[chunk])] = output.cpu()
                    bar.update(len(chunk))
    finally:
        encoder.model.train(training)
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
