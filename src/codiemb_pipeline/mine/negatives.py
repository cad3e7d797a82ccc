"""Which neighbours of one query become its hard negatives: ranks, margins and a draw, each step with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


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


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Which ranks and similarities qualify; the fields are those of :class:`~codiemb_pipeline.params.MineParams`."""

    rank_from: int
    rank_to: int
    absolute_margin: float | None
    relative_margin: float | None


@dataclass(frozen=True, kw_only=True)
class Known:
    """What cannot be a negative of a query.

    Attributes:
        positives: rows of its own positives in the corpus, int64.
        groups: text groups (see ``mine.relevance``) of its positives and of its own text, int64.
    """

    positives: np.ndarray
    groups: np.ndarray


def filter_known(rows: np.ndarray, groups: np.ndarray, known: Known) -> np.ndarray:
    """Return ``OWN_POSITIVE`` or ``EQUAL_TEXT`` for documents that cannot be negatives, ``KEPT`` for all others.

    Args:
        rows: documents by row in the corpus, int64 (n,).
        groups: their text groups, int64 (n,).
        known: of the query.

    Returns:
        Outcomes, int8 (n,).
    """
    outcomes = np.full(len(rows), Outcome.KEPT, dtype=np.int8)
    outcomes[np.isin(groups, known.groups)] = Outcome.EQUAL_TEXT
    outcomes[np.isin(rows, known.positives)] = Outcome.OWN_POSITIVE
    return outcomes


def filter_neighbours(
    rows: np.ndarray,
    groups: np.ndarray,
    scores: np.ndarray,
    *,
    known: Known,
    taken: np.ndarray,
    best_positive: float,
    limits: Limits,
) -> np.ndarray:
    """Return a outcome for each neighbour up to ``limits.rank_to``; those that qualify are ``KEPT``.

    Ranks count from 1 over the neighbours that are neither own positives nor equal in text to one or to the query. The
    outcomes end with the neighbour of rank ``rank_to``, so they do not depend on how many neighbours were searched.
    Margins are measured from the *best* positive. From the weakest they would be stricter, but among dozens of
    positives the weakest is often one the encoder fails on (or a wrong judgement), and then nothing would qualify.

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
    outcomes = filter_known(rows, groups, known)
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


def score_bounds(best_positive: float, limits: Limits) -> tuple[float, float]:
    """Return the similarities a negative must stay below: by the absolute and by the relative margin.

    The relative bound is ``best − (1 − margin)·|best|``, which is ``margin · best`` (NV-Retriever, arXiv 2407.15831,
    TopK-PercPos) for a positive above 0, and below the positive still when its similarity is negative.
    """
    absolute = np.inf if limits.absolute_margin is None else best_positive - limits.absolute_margin
    share = limits.relative_margin
    relative = np.inf if share is None else best_positive - (1.0 - share) * abs(best_positive)
    return float(absolute), float(relative)


def sample(outcomes: np.ndarray, draws: np.ndarray, count: int) -> np.ndarray:
    """Return ``outcomes`` with all but ``count`` of the ``KEPT`` turned to ``NOT_SAMPLED``.

    Args:
        outcomes: int8 (n,).
        draws: a random number for each, float (n,); the lowest win, whatever their rank.
        count: how many may stay, 0 or more.

    Returns:
        Outcomes, int8 (n,); the argument is left as it is.
    """
    qualified = np.flatnonzero(outcomes == Outcome.KEPT)
    losers = qualified[np.argsort(draws[qualified], kind="stable")[count:]]
    sampled = outcomes.copy()
    sampled[losers] = Outcome.NOT_SAMPLED
    return sampled


def filter_named(rows: np.ndarray, groups: np.ndarray, known: Known) -> np.ndarray:
    """Return a outcome for each negative the source itself names: no window, no margin, each text once.

    Args:
        rows: documents by row in the corpus, int64 (n,).
        groups: their text groups, int64 (n,).
        known: of the query.

    Returns:
        Outcomes, int8 (n,).
    """
    outcomes = filter_known(rows, groups, known)
    _drop_repeats(outcomes, groups)
    return outcomes


def _drop(outcomes: np.ndarray, fails: np.ndarray, reason: Outcome) -> None:
    """Give those that failed, and had no reason yet, their reason."""
    outcomes[(outcomes == Outcome.KEPT) & fails] = reason


def _drop_repeats(outcomes: np.ndarray, groups: np.ndarray) -> None:
    """Keep the first document of each text."""
    kept = np.flatnonzero(outcomes == Outcome.KEPT)
    first = np.unique(groups[kept], return_index=True)[1]
    outcomes[np.delete(kept, first)] = Outcome.REPEATED_TEXT
