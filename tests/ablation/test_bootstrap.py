"""Paired bootstrap: scores on resamples, and intervals of differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from codiemb_pipeline.ablation.bootstrap import interval, resampled_scores


def test_means_of_resamples_by_hand():
    draws = np.array([[0, 1, 2], [2, 2, 2]])
    assert resampled_scores(np.array([0.0, 0.3, 0.9]), None, draws).tolist() == pytest.approx([0.4, 0.9])


def test_rank_correlations_of_resamples_are_scipys_with_ties():
    generator = np.random.default_rng(1)
    cosines, gold = generator.random(30), (generator.random(30) * 5).round() / 5
    draws = generator.integers(0, 30, (20, 30))
    expected = [spearmanr(cosines[draw], gold[draw]).statistic for draw in draws]
    assert resampled_scores(cosines, gold, draws).tolist() == pytest.approx(expected)


def test_a_resample_of_one_pair_alone_scores_nothing():
    assert resampled_scores(np.array([0.1, 0.2]), np.array([0.0, 1.0]), np.array([[1, 1]])).tolist() == [0.0]


def test_the_interval_covers_the_true_difference_as_often_as_it_says():
    """Two models on 200 queries, the second better by 0.02 on average: 95 of 100 intervals should hold 0.02."""
    covered = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        first = generator.random(200)
        second = first + generator.normal(0.02, 0.1, 200)
        draws = generator.integers(0, 200, (300, 200))
        low, high = interval(resampled_scores(second, None, draws) - resampled_scores(first, None, draws), 0.95)
        covered += low <= 0.02 <= high
    assert 88 <= covered <= 100


def test_equal_models_differ_by_nothing():
    items, draws = np.random.default_rng(2).random(50), np.random.default_rng(3).integers(0, 50, (100, 50))
    difference = resampled_scores(items, None, draws) - resampled_scores(items.copy(), None, draws)
    assert interval(difference, 0.95) == (0.0, 0.0)
