"""Which neighbours of one query become its hard negatives: ranks, margins and a draw, each step with its reason.

Arrays in, arrays out. Knows nothing of texts, files, encoders or how neighbours were found.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Verdict(IntEnum):
    """What became of a neighbour: the first filter that drops it, or ``KEPT``."""

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
class Truth:
    """What is known to be no negative of a query.

    Attributes:
        positives: rows of its own positives in the corpus, int64.
        groups: text groups (see ``mine.judgements``) of its positives and of its own text, int64.
    """

    positives: np.ndarray
    groups: np.ndarray


def judge_truth(rows: np.ndarray, groups: np.ndarray, truth: Truth) -> np.ndarray:
    """Return ``OWN_POSITIVE`` or ``EQUAL_TEXT`` for documents that can be no negatives, ``KEPT`` for all others.

    Args:
        rows: documents by row in the corpus, int64 (n,).
        groups: their text groups, int64 (n,).
        truth: of the query.

    Returns:
        Verdicts, int8 (n,).
    """
    verdicts = np.full(len(rows), Verdict.KEPT, dtype=np.int8)
    verdicts[np.isin(groups, truth.groups)] = Verdict.EQUAL_TEXT
    verdicts[np.isin(rows, truth.positives)] = Verdict.OWN_POSITIVE
    return verdicts


def judge_neighbours(
    rows: np.ndarray,
    groups: np.ndarray,
    scores: np.ndarray,
    *,
    truth: Truth,
    taken: np.ndarray,
    best_positive: float,
    limits: Limits,
) -> np.ndarray:
    """Return a verdict for each neighbour up to ``limits.rank_to``; those that qualify are ``KEPT``.

    Ranks count from 1 over the neighbours that are neither own positives nor equal in text to one or to the query. The
    verdicts end with the neighbour of rank ``rank_to``, so they do not depend on how many neighbours were searched.
    Margins are measured from the *best* positive. From the weakest they would be stricter, but among dozens of
    positives the weakest is often one the encoder fails on (or a wrong judgement), and then nothing would qualify.

    Args:
        rows: neighbours by row in the corpus, best first, int64 (n,).
        groups: their text groups, int64 (n,).
        scores: their similarities, falling, float (n,).
        truth: of the query.
        taken: text groups of the negatives it has already, int64.
        best_positive: the highest similarity of its positives.
        limits: ranks and margins.

    Returns:
        Verdicts, int8 (m,), m at most n.
    """
    verdicts = judge_truth(rows, groups, truth)
    ranks = np.cumsum(verdicts == Verdict.KEPT)
    end = int(np.searchsorted(ranks, limits.rank_to)) + 1
    verdicts, ranks, scores, groups = verdicts[:end], ranks[:end], scores[:end], groups[:end]
    absolute, relative = score_bounds(best_positive, limits)
    _drop(verdicts, ranks < limits.rank_from, Verdict.OUTSIDE_WINDOW)
    _drop(verdicts, scores >= absolute, Verdict.ABSOLUTE_MARGIN)
    _drop(verdicts, scores >= relative, Verdict.RELATIVE_MARGIN)
    _drop(verdicts, np.isin(groups, taken), Verdict.REPEATED_TEXT)
    _drop_repeats(verdicts, groups)
    return verdicts


def score_bounds(best_positive: float, limits: Limits) -> tuple[float, float]:
    """Return the similarities a negative must stay below: by the absolute and by the relative margin.

    The relative bound is ``best − (1 − margin)·|best|``, which is ``margin · best`` (NV-Retriever, arXiv 2407.15831,
    TopK-PercPos) for a positive above 0, and below the positive still when its similarity is negative.
    """
    absolute = np.inf if limits.absolute_margin is None else best_positive - limits.absolute_margin
    share = limits.relative_margin
    relative = np.inf if share is None else best_positive - (1.0 - share) * abs(best_positive)
    return float(absolute), float(relative)


def sample(verdicts: np.ndarray, draws: np.ndarray, count: int) -> np.ndarray:
    """Return ``verdicts`` with all but ``count`` of the ``KEPT`` turned to ``NOT_SAMPLED``.

    Args:
        verdicts: int8 (n,).
        draws: a random number for each, float (n,); the lowest win, whatever their rank.
        count: how many may stay, 0 or more.

    Returns:
        Verdicts, int8 (n,); the argument is left as it is.
    """
    qualified = np.flatnonzero(verdicts == Verdict.KEPT)
    losers = qualified[np.argsort(draws[qualified], kind="stable")[count:]]
    sampled = verdicts.copy()
    sampled[losers] = Verdict.NOT_SAMPLED
    return sampled


def judge_named(rows: np.ndarray, groups: np.ndarray, truth: Truth) -> np.ndarray:
    """Return a verdict for each negative the source itself names: no window, no margin, each text once.

    Args:
        rows: documents by row in the corpus, int64 (n,).
        groups: their text groups, int64 (n,).
        truth: of the query.

    Returns:
        Verdicts, int8 (n,).
    """
    verdicts = judge_truth(rows, groups, truth)
    _drop_repeats(verdicts, groups)
    return verdicts


def _drop(verdicts: np.ndarray, fails: np.ndarray, reason: Verdict) -> None:
    """Give those that failed, and had no reason yet, their reason."""
    verdicts[(verdicts == Verdict.KEPT) & fails] = reason


def _drop_repeats(verdicts: np.ndarray, groups: np.ndarray) -> None:
    """Keep the first document of each text."""
    kept = np.flatnonzero(verdicts == Verdict.KEPT)
    first = np.unique(groups[kept], return_index=True)[1]
    verdicts[np.delete(kept, first)] = Verdict.REPEATED_TEXT
