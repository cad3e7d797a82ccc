"""Which candidates are positives of a query, and which must not be its negatives.

Works on ids of texts: two are equal exactly if the texts count as equal (``texts.text_key``; ``TokenStore.keys``),
whether they stand as query or as document, and -1 stands for no text.

Layout of the candidates. With P slots for positives and H for hard negatives, C = P + H, a process contributes C
columns for each of its B queries, query after query, the P positives first:

    query 0: p_0 .. p_{P-1} h_0 .. h_{H-1} | query 1: p_0 .. p_{P-1} h_0 .. h_{H-1} | ... | query B-1

and the W processes stand one after the other, N = W * B * C columns in all, each process with equally many. The block
of the process at hand begins at column ``first_column`` = process_rank * B * C (0 where nothing was gathered). A query
with fewer than P positives or H hard negatives fills its block up with id -1, whatever the embedding in that row; so
does a process with fewer queries than the others, to whole blocks.

The masks of the optional terms, all off by default, take M queries of all processes; the B of the process at hand are
rows ``first_row`` to ``first_row`` + B - 1 of them. The terms themselves are ``info_nce_sum`` with these masks.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from codiemb_pipeline.losses.info_nce import check_candidates
from codiemb_pipeline.losses.operands import same_precision


class CandidateMasks(NamedTuple):
    """The role of every candidate for every query.

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
        raise ValueError(f"the margin must be 0 or above, or ordinary negatives would be ignored; found {margin}")
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
