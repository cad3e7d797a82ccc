"""From embeddings and neighbours to the hard negatives of every training query: ranks, margins and a random draw."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch

from codiemb_pipeline.mine.relevance import Known, MiningSource
from codiemb_pipeline.mine.work_files import Vectors
from codiemb_pipeline.params.mine import MineParams
from codiemb_pipeline.progress import ProgressBar
from codiemb_pipeline.texts import hash_share


class Outcome(IntEnum):
    """The first filter that drops a neighbour, or ``KEPT``."""

    OWN_POSITIVE = 0
    EQUAL_TEXT = 1
    OUTSIDE_WINDOW = 2
    ABSOLUTE_MARGIN = 3
    RELATIVE_MARGIN = 4
    REPEATED_TEXT = 5
    NOT_SAMPLED = 6
    KEPT = 7


def filter_neighbours(
    rows: np.ndarray,
    groups: np.ndarray,
    scores: np.ndarray,
    *,
    known: Known,
    taken: np.ndarray,
    best_positive: float,
    limits: MineParams,
) -> np.ndarray:
    """Return an outcome for each neighbour up to ``limits.rank_to``; those that qualify are ``KEPT``.

    Ranks count the neighbours that are neither own positives nor equal in text to one or to the query, from 1. The
    outcomes end with rank ``rank_to``, so they do not depend on how many neighbours were searched.

    Args:
        rows: neighbours by row in the corpus, best first, int64 (n,).
        groups: their text groups, int64 (n,).
        scores: their similarities, falling, float (n,).
        known: of the query.
        taken: text groups of the negatives it has already, int64.
        best_positive: the highest similarity of its positives.
        limits: ranks and margins.

    Returns:
        Outcomes, int8 (m,), m at most n.
    """
    outcomes = _filter_known(rows, groups, known)
    ranks = np.cumsum(outcomes == Outcome.KEPT)
    end = int(np.searchsorted(ranks, limits.rank_to)) + 1
    outcomes, ranks, scores, groups = outcomes[:end], ranks[:end], scores[:end], groups[:end]
    absolute, relative = score_bounds(best_positive, limits)
    _drop(outcomes, ranks < limits.rank_from, Outcome.OUTSIDE_WINDOW)
    _drop(outcomes, scores >= absolute, Outcome.ABSOLUTE_MARGIN)
    _drop(outcomes, scores >= relative, Outcome.RELATIVE_MARGIN)
    _drop(outcomes, np.isin(groups, taken), Outcome.REPEATED_TEXT)
    _drop_repeats(outcomes, groups)
    return outcomes


def score_bounds(best_positive: float, limits: MineParams) -> tuple[float, float]:
    """Return the similarities a negative must stay below: by the absolute and by the relative margin.

    The relative bound is ``best − (1 − margin)·|best|``, which is ``margin · best`` (NV-Retriever, arXiv 2407.15831,
    TopK-PercPos) for a positive above 0, and below the positive still when its similarity is negative.
    """
    absolute = np.inf if limits.absolute_margin is None else best_positive - limits.absolute_margin
    share = limits.relative_margin
    relative = np.inf if share is None else best_positive - (1.0 - share) * abs(best_positive)
    return float(absolute), float(relative)


def sample(outcomes: np.ndarray, draws: np.ndarray, count: int) -> np.ndarray:
    """Return a copy of ``outcomes`` (n,) in which all but ``count`` of the ``KEPT`` are ``NOT_SAMPLED``.

    ``draws`` holds a random number for each, float (n,); the lowest win, whatever their rank.
    """
    qualified = np.flatnonzero(outcomes == Outcome.KEPT)
    losers = qualified[np.argsort(draws[qualified], kind="stable")[count:]]
    sampled = outcomes.copy()
    sampled[losers] = Outcome.NOT_SAMPLED
    return sampled


def filter_named(rows: np.ndarray, groups: np.ndarray, known: Known) -> np.ndarray:
    """Return an outcome, int8 (n,), for each negative that the source names: no window, no margin, each text once."""
    outcomes = _filter_known(rows, groups, known)
    _drop_repeats(outcomes, groups)
    return outcomes


def _filter_known(rows: np.ndarray, groups: np.ndarray, known: Known) -> np.ndarray:
    """Return ``OWN_POSITIVE``, ``EQUAL_TEXT`` or else ``KEPT`` for each document, int8 (n,)."""
    outcomes = np.full(len(rows), Outcome.KEPT, dtype=np.int8)
    outcomes[np.isin(groups, known.groups)] = Outcome.EQUAL_TEXT
    outcomes[np.isin(rows, known.positives)] = Outcome.OWN_POSITIVE
    return outcomes


def _drop(outcomes: np.ndarray, fails: np.ndarray, reason: Outcome) -> None:
    """Mark the kept documents that fail with ``reason``."""
    outcomes[(outcomes == Outcome.KEPT) & fails] = reason


def _drop_repeats(outcomes: np.ndarray, groups: np.ndarray) -> None:
    """Keep the first document of each text."""
    kept = np.flatnonzero(outcomes == Outcome.KEPT)
    first = np.unique(groups[kept], return_index=True)[1]
    outcomes[np.delete(kept, first)] = Outcome.REPEATED_TEXT


@dataclass(frozen=True)
class Filtered:
    """Documents considered for one query: row in the corpus, cosine and outcome of each, arrays of one length."""

    rows: np.ndarray
    scores: np.ndarray
    outcomes: np.ndarray

    def kept(self) -> list[tuple[int, float]]:
        """Return row and score of those kept, in order."""
        keep = self.outcomes == Outcome.KEPT
        return list(zip(self.rows[keep].tolist(), self.scores[keep].tolist(), strict=True))


@dataclass(frozen=True)
class MinedQuery:
    """What mining found for one query.

    Attributes:
        query: its index among the training queries.
        positives: rows of its positives, int64 (P,).
        positive_scores: their cosines, float32 (P,).
        named: the negatives that the source names.
        neighbours: what the search found, up to ``rank_to``.
    """

    query: int
    positives: np.ndarray
    positive_scores: np.ndarray
    named: Filtered
    neighbours: Filtered

    def negatives(self) -> list[tuple[int, float]]:
        """Return row and cosine of its hard negatives: those named, then those mined by rank."""
        return self.named.kept() + self.neighbours.kept()


def mine_source(
    source: MiningSource,
    queries: Vectors | torch.Tensor,
    documents: Vectors | torch.Tensor,
    neighbours: Iterable[tuple[np.ndarray, np.ndarray]],
    params: MineParams,
) -> Iterator[MinedQuery]:
    """Yield what was found for each training query, in order.

    Args:
        source: relevance of the Q training queries and N documents.
        queries: embeddings (Q, D) of length one.
        documents: embeddings (N, D) of length one.
        neighbours: cosines and rows (B, k) of the documents nearest to the queries of each block, best first; k as
            ``work_files.wanted`` gives it.
        params: window, margins and seed.
    """
    each = (found for block in neighbours for found in zip(*block, strict=True))
    bar = ProgressBar(each, total=len(queries), desc=f"filter {source.name}", unit="queries")
    for query, (scores, rows) in enumerate(bar):
        yield _mine_query(source, query, scores, rows, queries[query], documents, params)


def _mine_query(
    source: MiningSource,
    query: int,
    scores: np.ndarray,
    rows: np.ndarray,
    embedding: torch.Tensor,
    documents: Vectors | torch.Tensor,
    params: MineParams,
) -> MinedQuery:
    """Filter the named negatives and the neighbours of one query; one without positives gets no negatives."""
    known, named_rows = source.known[query], source.named[query]
    if not len(known.positives):
        rows, scores, named_rows = rows[:0], scores[:0], named_rows[:0]
    positive_scores = (documents[known.positives] @ embedding).numpy()
    named_scores = (documents[named_rows] @ embedding).numpy()
    outcomes = filter_named(named_rows, source.groups[named_rows], known)
    outcomes = sample(outcomes, _draws(source, query, named_rows, params.seed), params.negatives_per_query)
    named = Filtered(named_rows, named_scores, outcomes)
    taken = named_rows[outcomes == Outcome.KEPT]
    outcomes = filter_neighbours(
        rows,
        source.groups[rows],
        scores,
        known=known,
        taken=source.groups[taken],
        best_positive=float(positive_scores.max(initial=-np.inf)),
        limits=params,
    )
    rows, scores = rows[: len(outcomes)], scores[: len(outcomes)]
    outcomes = sample(outcomes, _draws(source, query, rows, params.seed), params.negatives_per_query - len(taken))
    return MinedQuery(query, known.positives, positive_scores, named, Filtered(rows, scores, outcomes))


def _draws(source: MiningSource, query: int, rows: np.ndarray, seed: int) -> np.ndarray:
    """Return a random number for each document that depends on seed, query and document alone.

    So a query's sample is unaffected by new queries, and nearly so by new documents.
    """
    query_id = source.query_ids[query]
    return np.array([hash_share(seed, "mine", query_id, source.document_ids[row]) for row in rows], dtype=np.float64)
