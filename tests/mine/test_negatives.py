"""The rules by which neighbours qualify, each by hand on a handful of documents."""

import numpy as np
import pytest

from codiemb_pipeline.mine.negatives import Limits, Truth, Verdict, judge_named, judge_neighbours, sample, score_bounds

OWN, EQUAL, WINDOW, ABSOLUTE, RELATIVE, REPEATED, UNSAMPLED, KEPT = Verdict


def judge(scores, *, positives=(), groups=None, truth_groups=(), taken=(), best=1.0, **limits) -> list[Verdict]:
    """Judge documents 0, 1, 2, ... which the search returned in this order, each a text of its own unless said."""
    rows = np.arange(len(scores))
    groups = rows if groups is None else np.array(groups)
    truth = Truth(
        positives=np.array(positives, dtype=np.int64),
        groups=np.unique([*groups[list(positives)], *truth_groups]).astype(np.int64),
    )
    bounds = {"rank_from": 1, "rank_to": len(scores), "absolute_margin": None, "relative_margin": None, **limits}
    verdicts = judge_neighbours(
        rows,
        groups,
        np.array(scores, dtype=np.float32),
        truth=truth,
        taken=np.array(taken, dtype=np.int64),
        best_positive=best,
        limits=Limits(**bounds),
    )
    return [Verdict(verdict) for verdict in verdicts]


def test_without_limits_every_document_but_the_positives_qualifies():
    assert judge([0.9, 0.8, 0.7], positives=[1]) == [KEPT, OWN, KEPT]


def test_a_document_with_the_text_of_a_positive_is_no_negative():
    assert judge([0.9, 0.8, 0.7], positives=[0], groups=[5, 5, 6]) == [OWN, EQUAL, KEPT]


def test_a_document_with_the_text_of_the_query_is_no_negative():
    assert judge([0.9, 0.8], groups=[3, 4], truth_groups=[3]) == [EQUAL, KEPT]


def test_ranks_count_only_documents_that_are_neither_positive_nor_equal_in_text():
    verdicts = judge(
        [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], positives=[0, 2], groups=[0, 1, 2, 0, 4, 5], rank_from=2, rank_to=3
    )
    assert verdicts == [OWN, WINDOW, OWN, EQUAL, KEPT, KEPT]


def test_the_verdicts_end_at_the_last_rank_of_the_window():
    assert judge([0.9, 0.8, 0.7, 0.6], positives=[0], rank_to=2) == [OWN, KEPT, KEPT]


def test_a_window_beyond_all_documents_leaves_none():
    assert judge([0.9, 0.8], rank_from=3, rank_to=9) == [WINDOW, WINDOW]


def test_the_absolute_margin_is_measured_down_from_the_best_positive_and_excludes_the_bound():
    assert judge([0.75, 0.5, 0.25], best=0.75, absolute_margin=0.25) == [ABSOLUTE, ABSOLUTE, KEPT]


def test_the_relative_margin_is_a_share_of_the_best_positive_and_excludes_the_bound():
    assert judge([0.5, 0.375, 0.25], best=0.5, relative_margin=0.75) == [RELATIVE, RELATIVE, KEPT]


@pytest.mark.parametrize(
    ("best", "share", "bound"), [(0.8, 0.95, 0.76), (-0.1, 0.95, -0.105), (0.0, 0.5, 0.0), (0.5, 1.0, 0.5)]
)
def test_the_relative_bound_is_never_above_the_best_positive(best, share, bound):
    limits = Limits(rank_from=1, rank_to=1, absolute_margin=None, relative_margin=share)
    assert score_bounds(best, limits) == (np.inf, pytest.approx(bound))


def test_the_first_filter_that_fails_is_the_reason():
    scores = [0.99, 0.9, 0.6, 0.5, 0.5]
    verdicts = judge(scores, best=1.0, rank_from=2, absolute_margin=0.2, relative_margin=0.55, groups=[0, 1, 2, 3, 3])
    assert verdicts == [WINDOW, ABSOLUTE, RELATIVE, KEPT, REPEATED]


def test_of_equal_texts_the_nearest_that_qualifies_is_taken_once():
    assert judge([0.9, 0.8, 0.7], groups=[4, 4, 4], rank_from=2) == [WINDOW, KEPT, REPEATED]


def test_a_text_the_source_already_named_is_not_taken_again():
    assert judge([0.9, 0.8], taken=[0]) == [REPEATED, KEPT]


def test_no_neighbours_give_no_verdicts():
    assert judge([], rank_to=5) == []


def test_sampling_keeps_the_lowest_draws_among_those_that_qualify():
    verdicts = np.array([KEPT, OWN, KEPT, KEPT, WINDOW], dtype=np.int8)
    draws = np.array([0.5, 0.0, 0.9, 0.1, 0.0])
    assert sample(verdicts, draws, 2).tolist() == [KEPT, OWN, UNSAMPLED, KEPT, WINDOW]
    assert sample(verdicts, draws, 0).tolist() == [UNSAMPLED, OWN, UNSAMPLED, UNSAMPLED, WINDOW]
    assert sample(verdicts, draws, 3).tolist() == verdicts.tolist()


def test_sampling_is_not_swayed_by_rank():
    generator = np.random.default_rng(0)
    verdicts = np.full(10, KEPT, dtype=np.int8)
    kept = sum((sample(verdicts, generator.random(10), 3) == KEPT).astype(int) for _ in range(2000))
    assert kept.sum() == 6000
    assert np.all(np.abs(kept - 600) < 100)  # five standard deviations of a fair draw


def test_named_negatives_pass_no_window_but_are_checked_against_the_truth():
    truth = Truth(positives=np.array([2]), groups=np.array([7, 9]))
    verdicts = judge_named(np.array([1, 2, 3, 4, 5]), np.array([1, 7, 9, 1, 5]), truth)
    assert verdicts.tolist() == [KEPT, OWN, EQUAL, REPEATED, KEPT]
