"""Gold is the place of a score in its declared range; a score outside is never clipped."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codiemb_pipeline.ingest.pairs import rescale
from codiemb_pipeline.ingest.validation import Batch, RejectLog

NUMBERS = st.floats(-1e6, 1e6)


def rescaled(score: float, score_range: tuple) -> tuple[float, RejectLog]:
    batch, log = Batch("file", [1], {"gold": [score]}), RejectLog("mine", rows=1)
    gold = rescale(batch, "gold", score_range)[0]
    batch.close(log)
    return gold, log


@pytest.mark.parametrize(
    ("score", "score_range", "gold"),
    [(7.2, (0, 10), 0.72), (0, (-1, 1), 0.5), (1, (1, 5), 0.0), (5, (1, 5), 1.0), (2, (1, 5), 0.25)],
)
def test_defect_11_gold_is_the_place_of_the_score_in_its_range(score: float, score_range: tuple, gold: float) -> None:
    assert rescaled(score, score_range)[0] == pytest.approx(gold, abs=1e-15)


@pytest.mark.parametrize("score", [0.999, 5.001, -1.0, math.nan, math.inf])
def test_a_score_outside_its_range_is_never_clipped(score: float) -> None:
    (found,) = rescaled(score, (1.0, 5.0))[1].rejects
    assert (found["row"], found["field"]) == (1, "gold")


@given(NUMBERS, NUMBERS, NUMBERS)
def test_gold_stays_within_0_and_1(a: float, b: float, c: float) -> None:
    low, score, high = sorted((a, b, c))
    if low < high:
        assert 0.0 <= rescaled(score, (low, high))[0] <= 1.0
