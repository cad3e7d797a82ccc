import math

import pytest
import torch

from codiemb_pipeline.losses.pearson import pearson

GOLD = torch.tensor([0.0, 0.2, 0.9, 0.4], dtype=torch.float64)
PREDICTED = torch.tensor([0.1, -0.3, 0.5, 0.45], dtype=torch.float64)


def naive(predicted, gold):
    pairs = len(predicted)
    mean_s, mean_y = sum(predicted) / pairs, sum(gold) / pairs
    cross = sum((s - mean_s) * (y - mean_y) for s, y in zip(predicted, gold, strict=True))
    square_s = sum((s - mean_s) ** 2 for s in predicted)
    square_y = sum((y - mean_y) ** 2 for y in gold)
    return 1 - cross / (square_s * square_y) ** 0.5


def test_the_value_by_hand():
    """s = 1, 2, 3 and y = 1, 3, 2: deviations -1, 0, 1 and -1, 1, 0; cross product 1, squares 2 and 2; 1 - 1/2."""
    loss = pearson(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 3.0, 2.0]))
    assert loss.item() == pytest.approx(0.5, rel=1e-6)


def test_the_gradient_by_hand(value_and_gradients):
    """rho = 1/2; d rho / d s_i = v_i / (|u||v|) - rho u_i / |u|^2 with u = -1, 0, 1, v = -1, 1, 0, |u|^2 = |v|^2 = 2:
    -1/2 + 1/4, 1/2, -1/4; the loss has the opposite sign.
    """
    gold = torch.tensor([1.0, 3.0, 2.0])
    _, (gradient,) = value_and_gradients(lambda s: pearson(s, gold), torch.tensor([1.0, 2.0, 3.0]))
    assert gradient.tolist() == pytest.approx([0.25, -0.5, 0.25], abs=1e-6)


def test_perfect_and_reversed_agreement_are_the_ends_of_the_range():
    assert pearson(3 * GOLD + 1, GOLD).item() == pytest.approx(0, abs=1e-12)
    assert pearson(-GOLD, GOLD).item() == pytest.approx(2, abs=1e-12)


@pytest.mark.parametrize("count", [2, 3, 8, 50])
@pytest.mark.parametrize("levels", [3, 1000])
def test_it_equals_the_naive_loop(generator, value_and_gradients, count, levels):
    predicted = torch.randn(count, generator=generator, dtype=torch.float64)
    gold = torch.randint(levels, (count,), generator=generator).double() / levels
    gold[:2] = torch.tensor([0.0, 1.0])
    value, (gradient,) = value_and_gradients(lambda s: pearson(s, gold), predicted)
    expected, (expected_gradient,) = value_and_gradients(lambda s: naive(s, gold), predicted)
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 7.0, 1e4])
@pytest.mark.parametrize("shift", [-5.0, 0.0, 3.0])
def test_scale_and_shift_of_either_side_change_nothing(scale, shift):
    expected = pearson(PREDICTED, GOLD).item()
    assert pearson(PREDICTED * scale + shift, GOLD).item() == pytest.approx(expected, rel=1e-8)
    assert pearson(PREDICTED, GOLD * scale + shift).item() == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_extreme_scales_neither_underflow_nor_overflow_in_single_precision(scale, value_and_gradients):
    gold = GOLD.float()
    value, (gradient,) = value_and_gradients(lambda s: pearson(s, gold), PREDICTED.float() * scale)
    assert value.item() == pytest.approx(pearson(PREDICTED, GOLD).item(), rel=1e-5)
    assert gradient.isfinite().all()


def test_predictions_that_differ_by_rounding_only_count_as_constant(value_and_gradients):
    predicted = torch.full((4,), 0.9)
    predicted[2] = math.nextafter(0.9, 1.0) + 6e-8
    value, (gradient,) = value_and_gradients(lambda s: pearson(s, GOLD.float()), predicted)
    assert len(predicted.unique()) == 2
    assert value == 0
    assert gradient.tolist() == [0, 0, 0, 0]


@pytest.mark.usefixtures("as_on_an_accelerator")
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("side", ["predicted", "gold"])
@pytest.mark.parametrize("rest", [0.0, 1.0], ids=["of a constant list", "of a varied list"])
def test_where_values_are_not_read_an_operand_that_is_not_finite_shows_in_the_loss(bad, side, rest):
    spoilt = GOLD * rest
    spoilt[1] = bad
    loss = pearson(spoilt, GOLD) if side == "predicted" else pearson(PREDICTED, spoilt)
    assert not loss.isfinite()
