"""Gold is the place of a score in its declared range; a score outside is never clipped."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codiemb_pipeline.ingest.pairs import rescale
from codiemb_pipeline.ingest.validation import BadRowError

NUMBERS = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("score", "score_range", "gold"),
    [(7.2, (0, 10), 0.72), (0, (-1, 1), 0.5), (1, (1, 5), 0.0), (5, (1, 5), 1.0), (2, (1, 5), 0.25)],
)
def test_defect_11_gold_is_the_place_of_the_score_in_its_range(score: float, score_range: tuple, gold: float) -> None:
    assert rescale(score, score_range, "gold") == pytest.approx(gold, abs=1e-15)


@pytest.mark.parametrize("score", [0.999, 5.001, -1.0, math.nan, math.inf])
def test_a_score_outside_its_range_is_never_clipped(score: float) -> None:
    with pytest.raises(BadRowError, match=r"^gold: expected a score within \[1, 5\]"):
        rescale(score, (1.0, 5.0), "gold")


@given(NUMBERS, NUMBERS, NUMBERS)
def test_gold_stays_within_0_and_1(a: float, b: float, c: float) -> None:
    low, score, high = sorted((a, b, c))
    if low < high:
        assert 0.0 <= rescale(score, (low, high), "gold") <= 1.0
