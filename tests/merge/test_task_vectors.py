"""TIES, spherical interpolation and Model Stock, by hand."""

import math

import pytest
import torch

from codiemb_pipeline.merge.task_vectors import mean_cosine, slerp_weights, stock_ratio, ties, trim_thresholds


def test_ties_by_hand() -> None:
    """Base ones; moves (4, -1, 2, 0), (-3, 5, 1, 0), (2, 0, -6, 0); density 1/2 keeps two of each.

    Trimmed: (4, 0, 2, 0), (-3, 5, 0, 0), (2, 0, -6, 0). Sums 3, 5, -4, 0: signs +, +, -, none.
    Means of those that agree: (4 + 2) / 2 = 3, 5, -6, 0. Times 0.5 plus 1: 2.5, 3.5, -2, 1.
    Shares: element 0: 1/4, 0, 1/4; element 1: 0, 1/2, 0; element 2: 0, 0, 1/2; element 3 nobody moved.
    """
    deltas = torch.tensor([[4.0, -1.0, 2.0, 0.0], [-3.0, 5.0, 1.0, 0.0], [2.0, 0.0, -6.0, 0.0]])
    fused, weights = ties(torch.ones(4), deltas, density=0.5, scale=0.5)
    assert fused.tolist() == pytest.approx([2.5, 3.5, -2.0, 1.0])
    assert weights.tolist() == pytest.approx([0.25 / 3, 0.5 / 3, 0.75 / 3])


def test_ties_elects_no_sign_where_the_moves_cancel() -> None:
    """sgn(2 - 2) = 0: nobody agrees with it, the element stays as in base."""
    fused, weights = ties(torch.tensor([7.0]), torch.tensor([[2.0], [-2.0]]), density=1.0, scale=1.0)
    assert fused.tolist() == [7.0]
    assert weights.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("density", "expected"),
    [(1.0, 1.0), (0.8, 2.0), (0.7, 2.0), (0.6, 3.0), (0.01, 5.0)],  # 0.7 * 5 = 3.5, four are kept
)
def test_trimming_keeps_the_share_rounded_up(density: float, expected: float) -> None:
    deltas = torch.tensor([[-5.0, 2.0, -3.0, 4.0, 1.0]])
    assert trim_thresholds(deltas, density).tolist() == [expected]


def test_ties_is_the_same_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(5)
    base, deltas = torch.randn(7, 3, generator=generator), torch.randn(4, 7, 3, generator=generator)
    whole, weights = ties(base, deltas, 0.4, 1.0)
    monkeypatch.setattr("codiemb_pipeline.merge.delta_fusion.SLICE", 4)
    sliced, sliced_weights = ties(base, deltas, 0.4, 1.0)
    assert torch.equal(whole, sliced)
    assert torch.allclose(weights, sliced_weights)


@pytest.mark.parametrize(
    ("t", "expected"),
    [
        (0.0, [1.0, 0.0]),
        (1.0, [0.0, 1.0]),
        (0.5, [1 / math.sqrt(2), 1 / math.sqrt(2)]),  # sin 45 / sin 90
        (1 / 3, [math.sqrt(3) / 2, 0.5]),  # sin 60 and sin 30
    ],
)
def test_slerp_between_tensors_at_a_right_angle(t: float, expected: list[float]) -> None:
    weights = slerp_weights(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 3.0]), t)
    assert weights.tolist() == pytest.approx(expected, abs=1e-12)


def test_slerp_at_sixty_degrees() -> None:
    """(1, 0) and (1/2, sqrt 3 / 2), a third: sin 40 / sin 60 and sin 20 / sin 60; the result has length 1."""
    one, two = torch.tensor([1.0, 0.0]), torch.tensor([0.5, math.sqrt(3) / 2])
    weights = slerp_weights(one, two, 1 / 3)
    sines = [math.sin(math.radians(angle)) / math.sin(math.radians(60)) for angle in (40, 20)]
    assert weights.tolist() == pytest.approx(sines, abs=1e-6)
    assert torch.linalg.vector_norm(weights[0] * one + weights[1] * two).item() == pytest.approx(1.0, abs=1e-6)


def test_slerp_at_a_small_angle_is_exact() -> None:
    """An angle of 1e-3, whose cosine differs from 1 by 5e-7: weights still follow the sines."""
    weights = slerp_weights(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1e-3]), 0.5)
    omega = math.atan(1e-3)
    assert weights.tolist() == pytest.approx([math.sin(omega / 2) / math.sin(omega)] * 2, rel=1e-9)


@pytest.mark.parametrize(
    ("first", "second"),
    [([1.0, 2.0], [1.0, 2.0]), ([1.0, 2.0], [2.0, 4.0]), ([0.0, 0.0], [1.0, 2.0]), ([1.0, 2.0], [-1.0, -2.0])],
)
def test_slerp_is_linear_where_there_is_no_angle(first: list[float], second: list[float]) -> None:
    assert slerp_weights(torch.tensor(first), torch.tensor(second), 0.25).tolist() == [0.75, 0.25]


def test_mean_cosine_over_all_pairs() -> None:
    """(1, 0), (0, 2), (3, 3): cosines 0, 1/sqrt 2 and 1/sqrt 2."""
    deltas = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    assert mean_cosine(deltas) == pytest.approx(math.sqrt(2) / 3)


def test_a_candidate_that_did_not_move_is_at_no_angle() -> None:
    assert mean_cosine(torch.tensor([[1.0, 0.0], [0.0, 0.0]])) == 0.0


@pytest.mark.parametrize(
    ("cosine", "count", "expected"),
    [
        (1.0, 2, 1.0),
        (0.0, 5, 0.0),
        (0.5, 2, 2 / 3),  # 2 * 0.5 / (1 + 0.5)
        (0.5, 3, 0.75),  # 3 * 0.5 / (1 + 2 * 0.5)
        (-0.4, 3, 0.0),
    ],
)
def test_stock_ratio_by_hand(cosine: float, count: int, expected: float) -> None:
    assert stock_ratio(cosine, count) == pytest.approx(expected)
