"""Exact top-k search by inner product, block by block, so that the score matrix never exists as a whole.

Knows nothing of texts, qrels or what the vectors stand for; vectors of length one make the scores cosines.
"""

from __future__ import annotations

import torch

_INDEX_BITS = 32
_INDEX_MASK = 2**_INDEX_BITS - 1
_SIGN_FLIP = 0x7FFFFFFF


def top_k(
    queries: torch.Tensor,
    documents: torch.Tensor,
    k: int,
    *,
    block_queries: int,
    block_documents: int,
    device: torch.device | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ``k`` documents with the highest inner product for each query, best first.

    Of documents with exactly the same score the one with the lower index comes first, whatever the block sizes. Beside
    its arguments and results it needs at most about 32 · block_queries · (block_documents + 2k) bytes, and an eighth of
    that where few scores tie.

    Args:
        queries: (Q, D), any floating type; scored in float32.
        documents: (N, D).
        k: how many; all N where there are fewer.
        block_queries: queries scored at a time.
        block_documents: documents scored at a time.
        device: where blocks are scored; ``None`` for where the queries lie. Results lie where the queries lie.

    Returns:
        Scores (Q, min(k, N)) float32, and indices (Q, min(k, N)) int64.

    Raises:
        ValueError: the shapes disagree, a size is below 1, N exceeds 2^32, or a score is NaN (a tie with everything).
    """
    _check(queries, documents, k, block_queries, block_documents)
    k = min(k, len(documents))
    device = queries.device if device is None else device
    best = [
        _best_keys(block.to(device).float(), documents, k, block_documents) for block in queries.split(block_queries)
    ]
    keys = torch.cat(best).to(queries.device) if best else torch.empty(0, k, dtype=torch.int64)
    return _scores_of(keys), _INDEX_MASK - (keys & _INDEX_MASK)


def _best_keys(queries: torch.Tensor, documents: torch.Tensor, k: int, block_documents: int) -> torch.Tensor:
    """Return the ``k`` highest keys of each query of one block, int64 (B, k), highest first."""
    best = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    for start in range(0, len(documents), block_documents):
        block = documents[start : start + block_documents].to(queries.device).float()
        best = torch.cat([best, _keys_in_block(queries @ block.T, start, k)], dim=1)
        best = best.topk(min(k, best.shape[1]), dim=1).values
    return best


def _keys_in_block(scores: torch.Tensor, start: int, k: int) -> torch.Tensor:
    """Return the ``k`` highest keys of each row of ``scores`` (B, N), in any order; all N where there are fewer."""
    count = scores.shape[1]
    values, columns = scores.topk(min(k + 1, count), dim=1)
    if values.isnan().any():  # topk puts NaN above all numbers, so none hides below
        raise ValueError("a similarity is NaN: an embedding holds NaN or infinite values")
    keys = _keys_of(values, start + columns)[:, :k]
    if count <= k:
        return keys
    # Only where the last one taken ties with the first one left could topk have taken the wrong one: there, all are
    # compared by key, which costs several times as much.
    tied = values[:, k - 1] == values[:, k]
    if tied.any():
        index = torch.arange(start, start + count, device=scores.device)
        keys[tied] = _keys_of(scores[tied], index).topk(k, dim=1).values
    return keys


def _keys_of(scores: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return int64 keys that sort as the scores do, and equal scores by falling index: no two keys are equal.

    ``topk`` leaves open which of equal values it returns; among keys there is nothing left open. The upper half is the
    float's bit pattern made monotone (a negative float's bits grow with its size, so they are flipped), the lower half
    the index, counted down.
    """
    bits = (scores + 0.0).view(torch.int32)  # + 0.0 makes -0.0 and 0.0 the same bits, as they are the same score
    ordered = torch.where(bits < 0, bits ^ _SIGN_FLIP, bits).to(torch.int64)
    return (ordered << _INDEX_BITS) + (_INDEX_MASK - index)


def _scores_of(keys: torch.Tensor) -> torch.Tensor:
    """Return the float32 scores inside ``keys``, bit for bit."""
    ordered = (keys >> _INDEX_BITS).to(torch.int32)
    return torch.where(ordered < 0, ordered ^ _SIGN_FLIP, ordered).view(torch.float32)


def _check(queries: torch.Tensor, documents: torch.Tensor, k: int, block_queries: int, block_documents: int) -> None:
    if queries.ndim != 2 or documents.ndim != 2 or queries.shape[1] != documents.shape[1]:
        found = f"{tuple(queries.shape)} and {tuple(documents.shape)}"
        raise ValueError(f"queries (Q, D) and documents (N, D) expected, found {found}")
    for name, value in (("k", k), ("block_queries", block_queries), ("block_documents", block_documents)):
        if value < 1:
            raise ValueError(f"{name}: expected 1 or more, found {value}")
    if len(documents) > _INDEX_MASK + 1:
        raise ValueError(f"documents: expected at most 2^{_INDEX_BITS}, found {len(documents)}")
