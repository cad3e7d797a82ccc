"""Masks of the optional terms of the retrieval objective, all off by default: queries as candidates, and a margin.

Ids as in ``losses.masks``: equal exactly if the texts are, whether they stand as query or as document, -1 for no text.
M queries of all processes; the B of the process at hand are rows ``first_row`` to ``first_row`` + B - 1 of them. The
terms themselves are ``info_nce_sum`` with these masks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from codiemb_pipeline.losses.info_nce import check_candidates
from codiemb_pipeline.losses.operands import same_precision


def above_positive(queries: Tensor, candidates: Tensor, positive_mask: Tensor, *, margin: float) -> Tensor:
    """Find candidates that the model takes for better than a query's best positive, by more than ``margin``.

    Such a document is more likely a missing judgement than a negative. n is ignored for i where
    q_i . c_n > max over p in P_i of q_i . c_p + margin.

    Source: Qwen3-Embedding (arXiv 2506.05176, section 3; margin 0.1), which has one positive per query. Of several we
    take the best, not the worst: a positive the model does not find yet would else mask nearly everything it has to be
    told apart from. The released code of CoDiEmb has nothing like it.

    Args:
        queries: (B, D) embeddings.
        candidates: (N, D) embeddings.
        positive_mask: (B, N) bool.
        margin: 0 or above, in units of the similarity.

    Returns:
        (B, N) bool, to be OR-ed into the ignore mask; never true for a positive, nor for any candidate of a query
        without one. Carries no gradient.

    Raises:
        ValueError: as ``info_nce_sum``; a margin below 0, or not a number.
    """
    if not margin >= 0.0:
        raise ValueError(f"the margin must be 0 or above, lest ordinary negatives be ignored; found {margin}")
    check_candidates(queries, candidates, positive_mask)
    queries, candidates = same_precision(queries.detach(), candidates.detach())
    with torch.autocast(queries.device.type, enabled=False):  # half precision is coarser than the margin
        similarities = queries @ candidates.T
    if similarities.shape[1] == 0:
        return positive_mask
    best = similarities.masked_fill(~positive_mask, -torch.inf).amax(dim=1, keepdim=True)
    return (similarities > best + margin) & ~positive_mask & positive_mask.any(dim=1, keepdim=True)


def query_masks(
    query_ids: Tensor, known: Tensor, all_query_ids: Tensor, all_known: Tensor, *, first_row: int
) -> Tensor:
    """Find the queries that may not serve as negatives of a query (query-query term).

    The caller appends the M queries to the candidates, this mask to the ignore mask, and False to the positive mask.
    Ignored are the query itself, queries of the same text, queries it shares a known positive with, and either way
    round those whose text is a known positive of the other: they ask for the same. Used in e.g. GTE (arXiv 2308.03281,
    eq. 3), where only the query itself is left out.

    Args:
        query_ids: (B,) of the queries at hand.
        known: (B, K) their known positives, shown or not, filled up with -1.
        all_query_ids: (M,); -1 where a row only fills up, which all ignore.
        all_known: (M, L) likewise.
        first_row: where the B stand among the M.

    Returns:
        (B, M) bool. The memory this takes is that of (B, M, K, L) bools.

    Raises:
        ValueError: shapes that do not fit together, or rows that reach beyond the M.
    """
    _check_queries(query_ids, known)
    _check_queries(all_query_ids, all_known)
    if not 0 <= first_row <= len(all_query_ids) - len(query_ids):
        raise ValueError(
            f"{len(query_ids)} queries from row {first_row} on do not fit among {len(all_query_ids)} of all processes"
        )
    rows = first_row + torch.arange(len(query_ids), device=query_ids.device)
    itself = torch.arange(len(all_query_ids), device=rows.device) == rows[:, None]
    # The relatives of a query are its own text and its known positives; two queries may not share any.
    relatives = torch.cat([query_ids[:, None], known], dim=1)  # (B, 1 + K)
    all_relatives = torch.cat([all_query_ids[:, None], all_known], dim=1)  # (M, 1 + L)
    same = relatives[:, None, :, None] == all_relatives[:, None, :]  # (B, M, 1 + K, 1 + L)
    related = (same & (relatives >= 0)[:, None, :, None]).flatten(2).any(dim=2)
    return itself | related | (all_query_ids < 0)


def reverse_masks(
    document_ids: Tensor, owners: Tensor, all_query_ids: Tensor, all_known: Tensor
) -> tuple[Tensor, Tensor]:
    """Find which query is the positive of a document, and which are no negatives of it (symmetric term).

    The term is ``info_nce_sum`` the other way round: own positives as queries, the queries of all processes as
    candidates. It needs no function of its own; a row without a positive adds to neither its sum nor its count.

    Args:
        document_ids: (A,) ids of shown positives, each as a query of its own; -1 for an empty slot.
        owners: (A,) the row, among the M queries, of the query it is shown for.
        all_query_ids: (M,); -1 where a row only fills up, which all ignore.
        all_known: (M, L) the known positives of all queries, shown or not, filled up with -1.

    Returns:
        positive (A, M) bool: the owner, unless the slot is empty. ignore (A, M) bool: every other query the document is
        a known positive of, that has the document's own text, or the text of the owner.

    Raises:
        ValueError: shapes that do not fit together.
    """
    _check_queries(all_query_ids, all_known)
    if document_ids.dim() != 1 or owners.shape != document_ids.shape:
        raise ValueError(
            "expected one owner for each of the documents (A,); "
            f"found shapes {tuple(owners.shape)} and {tuple(document_ids.shape)}"
        )
    filled = (document_ids >= 0)[:, None]
    positive = (torch.arange(len(all_query_ids), device=owners.device) == owners[:, None]) & filled
    same_owner = all_query_ids == all_query_ids[owners][:, None]
    answers = (all_known == document_ids[:, None, None]).any(dim=2)
    ignore = same_owner | answers | (all_query_ids == document_ids[:, None]) | (all_query_ids < 0)
    return positive, ignore & ~positive


def _check_queries(query_ids: Tensor, known: Tensor) -> None:
    if query_ids.dim() != 1 or known.dim() != 2 or len(known) != len(query_ids):
        raise ValueError(
            "expected query ids (M,) and their known positives (M, K); "
            f"found shapes {tuple(query_ids.shape)} and {tuple(known.shape)}"
        )
