"""The formulas of merging, by hand: weights from deltas, soups, TIES, spherical interpolation, Model Stock, layers."""

import math
from collections.abc import Sequence

import pytest
import torch

from codiemb_pipeline.merge.delta_fusion import delta_norms, fuse, join_norms, merge_weights
from codiemb_pipeline.merge.layers import LayerTable, in_model_order, layer_of
from codiemb_pipeline.merge.soups import greedy_soup, soup_weights
from codiemb_pipeline.merge.task_vectors import mean_cosine, slerp_weights, stock_ratio, ties, trim_thresholds

DELTAS = torch.tensor([[3.0, -4.0], [0.0, 10.0]])


@pytest.mark.parametrize(("norm", "expected"), [("l1", [7.0, 10.0]), ("l2", [5.0, 10.0]), ("max", [4.0, 10.0])])
def test_norm_of_each_candidates_move(norm, expected):
    assert delta_norms(DELTAS, norm).tolist() == expected


def test_norm_of_a_scalar_tensor_is_its_absolute_value():
    assert delta_norms(torch.tensor([-2.0, 3.0]), "l2").tolist() == [2.0, 3.0]


@pytest.mark.parametrize(("norm", "expected"), [("l1", 19.0), ("l2", 13.0), ("max", 12.0)])
def test_joined_norm_is_that_of_both_parts_together(norm, expected):
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
def test_weights_by_hand(weighting, tau, expected):
    """l2 norms 5 and 10."""
    weights = merge_weights(torch.tensor([5.0, 10.0], dtype=torch.float64), weighting, tau)
    assert weights.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("weighting", ["proportional", "inverse", "softmax"])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_weights_sum_to_one_and_do_not_depend_on_scale(weighting, scale):
    norms = torch.rand(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    weights = merge_weights(norms * scale, weighting, 0.5)
    assert torch.allclose(weights.sum(dim=0), torch.ones(5, dtype=torch.float64))
    assert torch.allclose(weights, merge_weights(norms, weighting, 0.5))


@pytest.mark.parametrize("weighting", ["proportional", "inverse", "softmax"])
def test_where_nobody_moved_the_weights_are_equal(weighting):
    assert merge_weights(torch.zeros(4), weighting).tolist() == [0.25] * 4


def test_inverse_gives_all_weight_to_candidates_that_did_not_move():
    assert merge_weights(torch.tensor([0.0, 2.0, 0.0]), "inverse").tolist() == [0.5, 0.0, 0.5]


def test_tau_of_zero_is_refused():
    with pytest.raises(ValueError, match="tau"):
        merge_weights(torch.ones(2), "softmax", 0.0)


def test_fused_tensor_is_base_plus_weighted_deltas():
    """(1, 1) + 0.25 (3, -4) + 0.75 (0, 10) = (1.75, 7.5)."""
    assert fuse(torch.ones(2), DELTAS, torch.tensor([0.25, 0.75])).tolist() == [1.75, 7.5]


def test_every_element_may_have_its_own_weights():
    """Proportional to |delta|: weights (1, 4/14) and (0, 10/14): 1 + 3 and 1 - 4 * 4/14 + 10 * 10/14 = 7."""
    weights = merge_weights(DELTAS.abs(), "proportional")
    assert fuse(torch.ones(2), DELTAS, weights).tolist() == pytest.approx([4.0, 7.0])


def test_ingredients_share_the_weight_equally():
    assert soup_weights(["a", "b", "c"], ["c", "a"]).tolist() == [0.5, 0.0, 0.5]


@pytest.mark.parametrize("ingredients", [[], ["z"]])
def test_a_soup_of_nothing_or_of_strangers_is_refused(ingredients):
    with pytest.raises(ValueError, match="ingredients"):
        soup_weights(["a"], ingredients)


def test_greedy_soup_keeps_what_does_not_lower_the_score():
    """Alone b 0.7, c 0.6, a 0.5, d 0.4. b+c falls to 0.65: out. b+a equals 0.7: in. b+a+d rises to 0.8: in."""
    asked: list[tuple[str, ...]] = []
    scores = {("b", "c"): 0.65, ("b", "a"): 0.7, ("b", "a", "d"): 0.8}

    def score(names: Sequence[str]) -> float:
        asked.append(tuple(names))
        return scores[tuple(names)]

    soup = greedy_soup({"a": 0.5, "b": 0.7, "c": 0.6, "d": 0.4}, score)
    assert soup.ingredients == ("b", "a", "d")
    assert soup.score == 0.8
    assert asked == [("b", "c"), ("b", "a"), ("b", "a", "d")]
    assert [(trial.candidate, trial.kept) for trial in soup.trials] == [
        ("b", True),
        ("c", False),
        ("a", True),
        ("d", True),
    ]


def test_greedy_soup_of_one_candidate_asks_for_no_score():
    assert greedy_soup({"a": 0.5}, lambda names: 1 / 0).ingredients == ("a",)


def test_ties_by_hand():
    """Base ones; moves (4, -1, 2, 0), (-3, 5, 1, 0), (2, 0, -6, 0); density 1/2 keeps two of each.

    Trimmed: (4, 0, 2, 0), (-3, 5, 0, 0), (2, 0, -6, 0). Sums 3, 5, -4, 0: signs +, +, -, none.
    Means of those that agree: (4 + 2) / 2 = 3, 5, -6, 0. Times 0.5 plus 1: 2.5, 3.5, -2, 1.
    Shares: element 0: 1/4, 0, 1/4; element 1: 0, 1/2, 0; element 2: 0, 0, 1/2; element 3 nobody moved.
    """
    deltas = torch.tensor([[4.0, -1.0, 2.0, 0.0], [-3.0, 5.0, 1.0, 0.0], [2.0, 0.0, -6.0, 0.0]])
    fused, weights = ties(torch.ones(4), deltas, density=0.5, scale=0.5)
    assert fused.tolist() == pytest.approx([2.5, 3.5, -2.0, 1.0])
    assert weights.tolist() == pytest.approx([0.25 / 3, 0.5 / 3, 0.75 / 3])


def test_ties_elects_no_sign_where_the_moves_cancel():
    """sgn(2 - 2) = 0: nobody agrees with it, the element stays as in base."""
    fused, weights = ties(torch.tensor([7.0]), torch.tensor([[2.0], [-2.0]]), density=1.0, scale=1.0)
    assert fused.tolist() == [7.0]
    assert weights.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("density", "expected"),
    [(1.0, 1.0), (0.8, 2.0), (0.7, 2.0), (0.6, 3.0), (0.01, 5.0)],  # 0.7 * 5 = 3.5, four are kept
)
def test_trimming_keeps_the_share_rounded_up(density, expected):
    deltas = torch.tensor([[-5.0, 2.0, -3.0, 4.0, 1.0]])
    assert trim_thresholds(deltas, density).tolist() == [expected]


def test_ties_is_the_same_in_slices(monkeypatch):
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
def test_slerp_between_tensors_at_a_right_angle(t, expected):
    weights = slerp_weights(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 3.0]), t)
    assert weights.tolist() == pytest.approx(expected, abs=1e-12)


def test_slerp_at_sixty_degrees():
    """(1, 0) and (1/2, sqrt 3 / 2), a third: sin 40 / sin 60 and sin 20 / sin 60; the result has length 1."""
    one, two = torch.tensor([1.0, 0.0]), torch.tensor([0.5, math.sqrt(3) / 2])
    weights = slerp_weights(one, two, 1 / 3)
    sines = [math.sin(math.radians(angle)) / math.sin(math.radians(60)) for angle in (40, 20)]
    assert weights.tolist() == pytest.approx(sines, abs=1e-6)
    assert torch.linalg.vector_norm(weights[0] * one + weights[1] * two).item() == pytest.approx(1.0, abs=1e-6)


def test_slerp_at_a_small_angle_is_exact():
    """An angle of 1e-3, whose cosine differs from 1 by 5e-7: weights still follow the sines."""
    weights = slerp_weights(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1e-3]), 0.5)
    omega = math.atan(1e-3)
    assert weights.tolist() == pytest.approx([math.sin(omega / 2) / math.sin(omega)] * 2, rel=1e-9)


@pytest.mark.parametrize(
    ("first", "second"),
    [([1.0, 2.0], [1.0, 2.0]), ([1.0, 2.0], [2.0, 4.0]), ([0.0, 0.0], [1.0, 2.0]), ([1.0, 2.0], [-1.0, -2.0])],
)
def test_slerp_is_linear_where_there_is_no_angle(first, second):
    assert slerp_weights(torch.tensor(first), torch.tensor(second), 0.25).tolist() == [0.75, 0.25]


def test_mean_cosine_over_all_pairs():
    """(1, 0), (0, 2), (3, 3): cosines 0, 1/sqrt 2 and 1/sqrt 2."""
    deltas = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    assert mean_cosine(deltas) == pytest.approx(math.sqrt(2) / 3)


def test_a_candidate_that_did_not_move_is_at_no_angle():
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
def test_stock_ratio_by_hand(cosine, count, expected):
    assert stock_ratio(cosine, count) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("encoder.layer.3.attention.self.query.weight", "encoder.layer.3"),
        ("layers.11.mlp.experts.7.down_proj.weight", "layers.11"),
        ("embeddings.word_embeddings.weight", "embeddings"),
        ("pooler.dense.bias", "pooler"),
        ("norm.weight", "norm"),
        ("0.weight", "0"),
    ],
)
def test_layer_is_told_by_the_first_number_in_the_name(name, layer):
    assert layer_of(name) == layer


def test_layers_are_ordered_by_number_not_by_letters():
    layers = ["encoder.layer.10", "encoder.layer.2", "pooler", "embeddings"]
    assert in_model_order(layers) == ["embeddings", "pooler", "encoder.layer.2", "encoder.layer.10"]


def test_layer_weight_counts_every_moved_parameter():
    """Sizes 3 and 1 with weights 1 and 0 for a: 0.75; the tensor nobody moved counts as parameters only."""
    table = LayerTable(["a", "b"], "l2")
    table.add("layer.0.x", 3, torch.tensor([3.0, 0.0]), torch.tensor([1.0, 0.0]))
    table.add("layer.0.y", 1, torch.tensor([4.0, 2.0]), torch.tensor([0.0, 1.0]))
    table.add("layer.0.z", 9, torch.tensor([0.0, 0.0]), None)
    table.add("norm.weight", 2, torch.tensor([0.0, 0.0]), None)
    outside, stack = table.rows()
    assert outside.weights is None
    assert outside.label == "norm"
    assert stack.weights == {"a": 0.75, "b": 0.25}
    assert stack.delta_norms == {"a": 5.0, "b": 2.0}
    assert (stack.parameters, stack.number, stack.label) == (13, 0, "0")
    assert table.mean_weights() == {"a": 0.75, "b": 0.25}
