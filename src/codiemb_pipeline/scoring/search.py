"""Exact top-k search by inner product, block by block: the whole score matrix is never in memory."""

from collections.abc import Sequence

import torch

_INDEX_BITS = 32
_INDEX_MASK = 2**_INDEX_BITS - 1
_SIGN_FLIP = 0x7FFFFFFF


class TopKeys:
    """Collects the ``k`` best documents of each query from blocks of documents.

    Documents are kept as keys (see :func:`_keys_of`). Keys are unique, so the result depends neither on the
    blocks nor on the process that searched them.

    Args:
        queries: blocks of queries, each (B, D) float32, on the device they are scored on.
        k: how many documents for each query of a block, per block.
    """

    def __init__(self, queries: Sequence[torch.Tensor], k: Sequence[int]) -> None:
        self._queries, self._k = queries, k
        self.keys = [torch.empty(len(block), 0, dtype=torch.int64, device=block.device) for block in queries]

    def add(self, documents: torch.Tensor, first: int) -> None:
        """Score one block of documents (N, D), with indices from ``first`` on.

        Raises:
            ValueError: a score is NaN.
        """
        if not self._queries:
            return
        block = documents.to(self._queries[0].device).float()
        for number, (queries, k) in enumerate(zip(self._queries, self._k, strict=True)):
            self.keys[number] = best_of([self.keys[number], _keys_in_block(queries @ block.T, first, k)], k)


def best_of(parts: Sequence[torch.Tensor], k: int) -> torch.Tensor:
    """Return the ``k`` highest keys of each row of several arrays of keys (B, n), highest first."""
    keys = torch.cat(list(parts), dim=1)
    return keys.topk(min(k, keys.shape[1]), dim=1).values


def scores_and_indices(keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the scores, float32 bit for bit, and the indices, int64, that ``keys`` stand for."""
    ordered = (keys >> _INDEX_BITS).to(torch.int32)
    scores = torch.where(ordered < 0, ordered ^ _SIGN_FLIP, ordered).view(torch.float32)
    return scores, _INDEX_MASK - (keys & _INDEX_MASK)


def top_k(
    queries: torch.Tensor, documents: torch.Tensor, k: int, *, block_queries: int, block_documents: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ``k`` documents with the highest inner product for each query, best first.

    Equal scores are ordered by index, whatever the block sizes. Besides arguments and results, the search needs at most
    about 32 · block_queries · (block_documents + 2k) bytes, and an eighth of that if few scores tie.

    Args:
        queries: (Q, D), any floating type; scored in float32 on their device.
        documents: (N, D).
        k: number of documents; all N if there are fewer.
        block_queries, block_documents: how many are scored at a time.

    Returns:
        Scores (Q, min(k, N)) float32, and indices (Q, min(k, N)) int64.

    Raises:
        ValueError: the shapes disagree, a size is below 1, N exceeds 2^32, or a score is NaN (a tie with everything).
    """
    _check(queries, documents, k, block_queries, block_documents)
    blocks = [block.float() for block in queries.split(block_queries)] if len(queries) else []
    found = TopKeys(blocks, [k] * len(blocks))
    for first in range(0, len(documents), block_documents):
        found.add(documents[first : first + block_documents], first)
    none = torch.empty(0, min(k, len(documents)), dtype=torch.int64)
    return scores_and_indices(torch.cat(found.keys) if blocks else none)


def _keys_in_block(scores: torch.Tensor, start: int, k: int) -> torch.Tensor:
    """Return the ``k`` highest keys of each row of ``scores`` (B, N), in any order; all N if there are fewer."""
    count = scores.shape[1]
    values, columns = scores.topk(min(k + 1, count), dim=1)
    if values.isnan().any():  # topk ranks NaN above all numbers, so this finds any NaN
        raise ValueError("a similarity is NaN: an embedding holds NaN or infinite values")
    keys = _keys_of(values, start + columns)[:, :k]
    if count <= k:
        return keys
    # topk may keep the wrong document only if the last one kept ties with the first one dropped. Those rows are
    # compared by key, which costs several times as much.
    tied = values[:, k - 1] == values[:, k]
    if tied.any():
        index = torch.arange(start, start + count, device=scores.device)
        keys[tied] = _keys_of(scores[tied], index).topk(k, dim=1).values
    return keys


def _keys_of(scores: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return unique int64 keys that sort by score, then by falling index.

    ``topk`` does not define which of several equal values it returns; unique keys do. The upper half is the float's bit
    pattern made monotone (the bits of a negative float grow with its magnitude, so they are flipped), the lower half
    the index, counted down.
    """
    bits = (scores + 0.0).view(torch.int32)  # + 0.0 turns -0.0 into 0.0, since both are the same score
    ordered = torch.where(bits < 0, bits ^ _SIGN_FLIP, bits).to(torch.int64)
    return (ordered << _INDEX_BITS) + (_INDEX_MASK - index)


def _check(queries: torch.Tensor, documents: torch.Tensor, k: int, block_queries: int, block_documents: int) -> None:
    if queries.ndim != 2 or documents.ndim != 2 or queries.shape[1] != documents.shape[1]:
        found = f"{tuple(queries.shape)} and {tuple(documents.shape)}"
        raise ValueError(f"queries (Q, D) and documents (N, D) expected, found {found}")
    for name, value in (("k", k), ("block_queries", block_queries), ("block_documents", block_documents)):
        if value < 1:
            raise ValueError(f"{name}: expected 1 or more, found {value}")
    if len(documents) > _INDEX_MASK + 1:
        raise ValueError(f"documents: expected at most 2^{_INDEX_BITS}, found {len(documents)}")
