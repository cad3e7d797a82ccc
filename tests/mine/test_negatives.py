"""The rules by which neighbours qualify, each by hand on a handful of documents."""

import numpy as np
import pytest
from mining_inputs import make_params

from codiemb_pipeline.mine.negatives import Outcome, filter_named, filter_neighbours, sample, score_bounds
from codiemb_pipeline.mine.relevance import Known

OWN, EQUAL, WINDOW, ABSOLUTE, RELATIVE, REPEATED, UNSAMPLED, KEPT = Outcome


def outcomes_of(scores, *, positives=(), groups=None, known_groups=(), taken=(), best=1.0, **limits) -> list[Outcome]:
    """Filter documents 0, 1, 2, ..., best first; each has a text of its own unless ``groups`` are given."""
    rows = np.arange(len(scores))
    groups = rows if groups is None else np.array(groups)
    known = Known(
        positives=np.array(positives, dtype=np.int64),
        groups=np.unique([*groups[list(positives)], *known_groups]).astype(np.int64),
    )
    outcomes = filter_neighbours(
        rows,
        groups,
        np.array(scores, dtype=np.float32),
        known=known,
        taken=np.array(taken, dtype=np.int64),
        best_positive=best,
        limits=make_params(**{"rank_to": len(scores), **limits}),
    )
    return [Outcome(outcome) for outcome in outcomes]


@pytest.mark.parametrize(
    ("scores", "options", "expected"),
    [
        # Without limits every document but the positives qualifies.
        ([0.9, 0.8, 0.7], {"positives": [1]}, [KEPT, OWN, KEPT]),
        ([], {"rank_to": 5}, []),
        # A document with the text of a positive, or of the query, is no negative.
        ([0.9, 0.8, 0.7], {"positives": [0], "groups": [5, 5, 6]}, [OWN, EQUAL, KEPT]),
        ([0.9, 0.8], {"groups": [3, 4], "known_groups": [3]}, [EQUAL, KEPT]),
        # Ranks count only documents that are neither positive nor equal in text; outcomes end at the last rank.
        (
            [0.9, 0.8, 0.7, 0.6, 0.5, 0.4],
            {"positives": [0, 2], "groups": [0, 1, 2, 0, 4, 5], "rank_from": 2, "rank_to": 3},
            [OWN, WINDOW, OWN, EQUAL, KEPT, KEPT],
        ),
        ([0.9, 0.8, 0.7, 0.6], {"positives": [0], "rank_to": 2}, [OWN, KEPT, KEPT]),
        ([0.9, 0.8], {"rank_from": 3, "rank_to": 9}, [WINDOW, WINDOW]),
        # Margins are measured from the best positive and exclude the bound.
        ([0.75, 0.5, 0.25], {"best": 0.75, "absolute_margin": 0.25}, [ABSOLUTE, ABSOLUTE, KEPT]),
        ([0.5, 0.375, 0.25], {"best": 0.5, "relative_margin": 0.75}, [RELATIVE, RELATIVE, KEPT]),
        # The first filter that fails is the reason.
        (
            [0.99, 0.9, 0.6, 0.5, 0.5],
            {"rank_from": 2, "absolute_margin": 0.2, "relative_margin": 0.55, "groups": [0, 1, 2, 3, 3]},
            [WINDOW, ABSOLUTE, RELATIVE, KEPT, REPEATED],
        ),
        # Of equal texts the nearest that qualifies is taken, unless the source has named it.
        ([0.9, 0.8, 0.7], {"groups": [4, 4, 4], "rank_from": 2}, [WINDOW, KEPT, REPEATED]),
        ([0.9, 0.8], {"taken": [0]}, [REPEATED, KEPT]),
    ],
)
def test_the_outcome_of_each_neighbour(scores, options, expected):
    assert outcomes_of(scores, **options) == expected


@pytest.mark.parametrize(
    ("best", "share", "bound"), [(0.8, 0.95, 0.76), (-0.1, 0.95, -0.105), (0.0, 0.5, 0.0), (0.5, 1.0, 0.5)]
)
def test_the_relative_bound_is_never_above_the_best_positive(best, share, bound):
    limits = make_params(rank_to=1, relative_margin=share)
    assert score_bounds(best, limits) == (np.inf, pytest.approx(bound))


def test_sampling_keeps_the_lowest_draws_among_those_that_qualify():
    outcomes = np.array([KEPT, OWN, KEPT, KEPT, WINDOW], dtype=np.int8)
    draws = np.array([0.5, 0.0, 0.9, 0.1, 0.0])
    assert sample(outcomes, draws, 2).tolist() == [KEPT, OWN, UNSAMPLED, KEPT, WINDOW]
    assert sample(outcomes, draws, 0).tolist() == [UNSAMPLED, OWN, UNSAMPLED, UNSAMPLED, WINDOW]
    assert sample(outcomes, draws, 3).tolist() == outcomes.tolist()


def test_sampling_is_not_swayed_by_rank():
    generator = np.random.default_rng(0)
    outcomes = np.full(10, KEPT, dtype=np.int8)
    kept = sum((sample(outcomes, generator.random(10), 3) == KEPT).astype(int) for _ in range(2000))
    assert kept.sum() == 6000
    assert np.all(np.abs(kept - 600) < 100)  # five standard deviations of a fair draw


def test_named_negatives_pass_no_window_but_are_checked_against_the_known():
    known = Known(positives=np.array([2]), groups=np.array([7, 9]))
    outcomes = filter_named(np.array([1, 2, 3, 4, 5]), np.array([1, 7, 9, 1, 5]), known)
    assert outcomes.tolist() == [KEPT, OWN, EQUAL, REPEATED, KEPT]
