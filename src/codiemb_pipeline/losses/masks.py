"""Which candidates are positives of which query, and which must not count against it.

Works on the ids of texts: two ids are equal exactly if the texts are, whether they stand as query or as document, and
-1 stands for no text.

Layout of the candidates. With P slots for positives and H for hard negatives, C = P + H, a process contributes C
columns for each of its B queries, query after query, the P positives first:

    query 0: p_0 .. p_{P-1} h_0 .. h_{H-1} | query 1: p_0 .. p_{P-1} h_0 .. h_{H-1} | ... | query B-1

and the W processes stand one after the other, N = W * B * C columns in all, each process with equally many. The block
of the process at hand begins at column ``first_column`` = process_rank * B * C (0 where nothing was gathered). A query
with fewer than P positives or H hard negatives fills its block up with id -1, whatever the embedding in that row; so
does a process with fewer queries than the others, to whole blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class CandidateMasks(NamedTuple):
    """What ``info_nce_sum`` wants to know of the candidates.

    Attributes:
        positive: (B, N) bool, the candidates shown as positives of each query, in its own block.
        ignore: (B, N) bool, the candidates that count neither for nor against it.
        slots: (N,) int64, 0 to P - 1 where a positive stands, -1 where a hard negative does.
    """

    positive: Tensor
    ignore: Tensor
    slots: Tensor


def candidate_masks(
    query_ids: Tensor,
    known_positive_ids: Tensor,
    candidate_ids: Tensor,
    *,
    first_column: int,
    positives_per_query: int,
    documents_per_query: int,
    ignore_known: bool = True,
) -> CandidateMasks:
    """Find the positives of each query, and every candidate that may not be its negative.

    Positive are the texts in the first P columns of the query's own block. Ignored is any other candidate whose text is
    a known positive of the query, or the query's own text, or no text (-1): a false negative is masked by its text
    wherever it stands, as positive or as hard negative, of whatever query and process. A text that a block repeats, as
    when a short list of positives was filled up with its first, counts in its first column only, for every query; a
    text that several blocks hold counts once for each.

    Args:
        query_ids: (B,) ids of the query texts.
        known_positive_ids: (B, K) ids of *all* known positives of each query, shown or not, filled up with -1; K may
            be 0, since the shown ones are taken for known.
        candidate_ids: (N,) ids of the candidates' texts, of all processes, laid out as above; -1 for no text.
        first_column: where the block of query 0 begins.
        positives_per_query: P.
        documents_per_query: C = P + H.
        ignore_known: false restores the released code: only what is no text or a repeat in its block is ignored, so
            that a document which is a positive of two queries counts as a negative of both.

    Returns:
        The masks. The memory this takes is that of (B, N, K + P + 1) bools.

    Raises:
        ValueError: shapes that do not fit together, or blocks that reach beyond the candidates.
    """
    width, shown = documents_per_query, positives_per_query
    _check_layout(query_ids, known_positive_ids, candidate_ids, first_column, shown, width)
    queries, device = len(query_ids), candidate_ids.device
    candidate_ids = _without_repeats(candidate_ids.reshape(-1, width)).flatten()
    own = candidate_ids[first_column : first_column + queries * width].view(queries, width)[:, :shown]  # (B, P)
    columns = first_column + torch.arange(queries * width, device=device).view(queries, width)[:, :shown]
    positive = torch.zeros(queries, len(candidate_ids), dtype=torch.bool, device=device)
    positive = positive.scatter(1, columns, own >= 0)
    ignore = (candidate_ids < 0).expand_as(positive)
    if ignore_known:
        related = torch.cat([known_positive_ids, own, query_ids[:, None]], dim=1)  # (B, K + P + 1)
        ignore = ignore | (candidate_ids[:, None] == related[:, None, :]).any(dim=2)
    place = torch.arange(len(candidate_ids), device=device) % width
    return CandidateMasks(
        positive=positive,
        ignore=ignore & ~positive,
        slots=torch.where(place < shown, place, -1),
    )


def _without_repeats(blocks: Tensor) -> Tensor:
    """Ids in blocks (W * B, C) with -1 for each that stands in an earlier column of its block too."""
    repeats = (blocks[:, :, None] == blocks[:, None, :]).tril(diagonal=-1).any(dim=2)
    return blocks.masked_fill(repeats, -1)


def _check_layout(query_ids: Tensor, known: Tensor, candidate_ids: Tensor, first: int, shown: int, width: int) -> None:
    if query_ids.dim() != 1 or candidate_ids.dim() != 1 or known.dim() != 2 or len(known) != len(query_ids):
        raise ValueError(
            "expected query ids (B,), known positives (B, K) and candidate ids (N,); "
            f"found shapes {tuple(query_ids.shape)}, {tuple(known.shape)}, {tuple(candidate_ids.shape)}"
        )
    if not 1 <= shown <= width:
        raise ValueError(f"of {width} documents per query {shown} cannot be positives")
    columns = len(candidate_ids)
    if first < 0 or first % width or columns % width or first + len(query_ids) * width > columns:
        raise ValueError(
            f"the blocks of {len(query_ids)} queries, {width} columns each from column {first} on, "
            f"do not fit into {columns} candidates in blocks of {width}"
        )
