"""Weights from deltas, by hand. Throughout: two candidates, deltas (3, 4) and (0, 10)."""

import math

import pytest
import torch

from codiemb_pipeline.merge.delta_fusion import delta_norms, fuse, join_norms, merge_weights

DELTAS = torch.tensor([[3.0, -4.0], [0.0, 10.0]])


@pytest.mark.parametrize(("norm", "expected"), [("l1", [7.0, 10.0]), ("l2", [5.0, 10.0]), ("max", [4.0, 10.0])])
def test_norm_of_each_candidates_move(norm: str, expected: list[float]) -> None:
    assert delta_norms(DELTAS, norm).tolist() == expected


def test_norm_of_a_scalar_tensor_is_its_absolute_value() -> None:
    assert delta_norms(torch.tensor([-2.0, 3.0]), "l2").tolist() == [2.0, 3.0]


@pytest.mark.parametrize(("norm", "expected"), [("l1", 19.0), ("l2", 13.0), ("max", 12.0)])
def test_joined_norm_is_that_of_both_parts_together(norm: str, expected: float) -> None:
    """Parts (3, -4) and (12): l1 7 + 12, l2 sqrt(25 + 144), max 12; the parts' own norms: 7 5 4, and 12."""
    first, second = delta_norms(DELTAS[:1], norm), torch.tensor([12.0], dtype=torch.float64)
    assert join_norms(first, second, norm).tolist() == pytest.approx([expected])


@pytest.mark.parametrize(
    ("weighting", "tau", "expected"),
    [
        ("proportional", 1.0, [1 / 3, 2 / 3]),  # 5 / 15, 10 / 15
        ("inverse", 1.0, [2 / 3, 1 / 3]),  # 0.2 / 0.3, 0.1 / 0.3
        ("softmax", 1.0, [1 / (1 + math.exp(2 / 3)), 1 / (1 + math.exp(-2 / 3))]),  # mean 7.5: exp(2/3), exp(4/3)
        ("softmax", -2.0, [1 / (1 + math.exp(-1 / 3)), 1 / (1 + math.exp(1 / 3))]),
    ],
)
def test_weights_by_hand(weighting: str, tau: float, expected: list[float]) -> None:
    """l2 norms 5 and 10."""
    weights = merge_weights(torch.tensor([5.0, 10.0], dtype=torch.float64), weighting, tau)
    assert weights.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("weighting", ["proportional", "inverse", "softmax"])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_weights_sum_to_one_and_do_not_depend_on_scale(weighting: str, scale: float) -> None:
    norms = torch.rand(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    weights = merge_weights(norms * scale, weighting, 0.5)
    assert torch.allclose(weights.sum(dim=0), torch.ones(5, dtype=torch.float64))
    assert torch.allclose(weights, merge_weights(norms, weighting, 0.5))


@pytest.mark.parametrize("weighting", ["proportional", "inverse", "softmax"])
def test_where_nobody_moved_the_weights_are_equal(weighting: str) -> None:
    assert merge_weights(torch.zeros(4), weighting).tolist() == [0.25] * 4


def test_inverse_gives_all_weight_to_candidates_that_did_not_move() -> None:
    assert merge_weights(torch.tensor([0.0, 2.0, 0.0]), "inverse").tolist() == [0.5, 0.0, 0.5]


def test_tau_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="tau"):
        merge_weights(torch.ones(2), "softmax", 0.0)


def test_fused_tensor_is_base_plus_weighted_deltas() -> None:
    """(1, 1) + 0.25 (3, -4) + 0.75 (0, 10) = (1.75, 7.5)."""
    assert fuse(torch.ones(2), DELTAS, torch.tensor([0.25, 0.75])).tolist() == [1.75, 7.5]


def test_every_element_may_have_its_own_weights() -> None:
    """Proportional to |delta|: weights (1, 4/14) and (0, 10/14): 1 + 3 and 1 - 4 * 4/14 + 10 * 10/14 = 7."""
    weights = merge_weights(DELTAS.abs(), "proportional")
    assert fuse(torch.ones(2), DELTAS, weights).tolist() == pytest.approx([4.0, 7.0])
