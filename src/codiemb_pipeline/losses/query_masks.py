"""Masks of the optional terms of the retrieval objective, all off by default: queries as candidates, and a margin.

Ids as in ``losses.masks``: equal exactly if the texts are, -1 for no text. M queries of all processes; those of the
process at hand begin at ``first_row``. Knows nothing of texts or processes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def above_positive(queries: Tensor, candidates: Tensor, positive_mask: Tensor, *, margin: float) -> Tensor:
    """Find candidates that the model takes for better than a query's best positive, by more than ``margin``.

    Such a document is more likely a missing judgement than a negative. n is ignored for i where
    q_i . c_n > max over p in P_i of q_i . c_p + margin, as in Qwen3-Embedding (arXiv 2506.05176, section 3; 0.1 there),
    which has one positive. The best of several, not the worst: a positive the model does not find yet would else mask
    nearly everything it has to be told apart from.

    Args:
        queries: (B, D) embeddings.
        candidates: (N, D) embeddings.
        positive_mask: (B, N) bool.
        margin: 0 or above, in units of the similarity.

    Returns:
        (B, N) bool, never true for a positive, nor for any candidate of a query without one. Carries no gradient.
    """
    with torch.no_grad():
        similarities = queries.detach().float() @ candidates.detach().float().T
        best = similarities.masked_fill(~positive_mask, -torch.inf).amax(dim=1, keepdim=True)
        return (similarities > best + margin) & ~positive_mask & positive_mask.any(dim=1, keepdim=True)


def query_masks(
    query_ids: Tensor, known: Tensor, all_query_ids: Tensor, all_known: Tensor, *, first_row: int
) -> Tensor:
    """Find the queries that may not serve as negatives of a query (query-query term).

    Ignored are the query itself, queries of the same text, and queries it shares a known positive with: they ask for
    the same. Used in e.g. GTE (arXiv 2308.03281, eq. 3).

    Args:
        query_ids: (B,) of the queries at hand.
        known: (B, K) their known positives, filled up with -1.
        all_query_ids: (M,).
        all_known: (M, L).
        first_row: where the B stand among the M.

    Returns:
        (B, M) bool.
    """
    rows = first_row + torch.arange(len(query_ids), device=query_ids.device)
    ignore = torch.arange(len(all_query_ids), device=rows.device) == rows[:, None]
    ignore |= all_query_ids == query_ids[:, None]
    same = known[:, None, :, None] == all_known[:, None, :]  # (B, M, K, L)
    ignore |= (same & (known >= 0)[:, None, :, None]).flatten(2).any(dim=2)
    return ignore


def reverse_masks(
    document_ids: Tensor, owners: Tensor, all_query_ids: Tensor, all_known: Tensor
) -> tuple[Tensor, Tensor]:
    """Find which query is the positive of a document, and which are no negatives of it (symmetric term).

    Args:
        document_ids: (A,) ids of shown positives, each as a query of its own; -1 for an empty slot.
        owners: (A,) the row, among the M queries, of the query it is shown for.
        all_query_ids: (M,).
        all_known: (M, L) the known positives of all queries, filled up with -1.

    Returns:
        positive (A, M) bool: the owner, unless the slot is empty. ignore (A, M) bool: every other query the document is
        a known positive of, that has the document's own text, or the text of the owner.
    """
    filled = (document_ids >= 0)[:, None]
    positive = (torch.arange(len(all_query_ids), device=owners.device) == owners[:, None]) & filled
    same_owner = all_query_ids == all_query_ids[owners][:, None]
    answers = (all_known == document_ids[:, None, None]).any(dim=2) & filled
    ignore = same_owner | answers | (all_query_ids == document_ids[:, None])
    return positive, ignore & ~positive
