import pytest
import torch

from codiemb_pipeline.losses.operands import (
    at_least_float32,
    check_temperature,
    connected_zero,
    same_precision,
    scored_pairs,
)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int64, torch.bool])
def test_everything_but_double_becomes_single_precision(dtype):
    assert at_least_float32(torch.ones(2, dtype=dtype)).dtype == torch.float32


def test_double_precision_is_kept():
    assert at_least_float32(torch.ones(2, dtype=torch.float64)).dtype == torch.float64


def test_two_precisions_meet_at_the_finer_one():
    first, second = same_precision(torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.float64))
    assert first.dtype == second.dtype == torch.float64


def test_gold_takes_the_precision_of_the_predictions_and_no_gradient():
    predicted, gold = scored_pairs(torch.zeros(2), torch.ones(2, dtype=torch.float64, requires_grad=True))
    assert predicted.dtype == gold.dtype == torch.float32
    assert not gold.requires_grad


@pytest.mark.parametrize(
    ("predicted", "gold"),
    [(torch.zeros(3), torch.zeros(2)), (torch.zeros(3, 1), torch.zeros(3, 1)), (torch.zeros(()), torch.zeros(()))],
    ids=["unequal lengths", "a column", "scalars"],
)
def test_anything_but_two_equally_long_lists_is_refused(predicted, gold):
    with pytest.raises(ValueError, match="two lists of the same length"):
        scored_pairs(predicted, gold)


def test_whole_numbers_cannot_be_predictions():
    with pytest.raises(ValueError, match="floating dtype"):
        scored_pairs(torch.zeros(2, dtype=torch.int64), torch.zeros(2))


@pytest.mark.parametrize("temperature", [0.0, -0.05, float("nan"), float("inf")])
def test_a_temperature_that_cannot_divide_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature"):
        check_temperature(temperature)


def test_the_connected_zero_gives_every_tensor_a_gradient_of_zeros(value_and_gradients):
    value, gradients = value_and_gradients(connected_zero, torch.tensor([1e30, -2.0]), torch.ones(2, 3))
    assert value == 0
    assert [gradient.tolist() for gradient in gradients] == [[0, 0], [[0, 0, 0], [0, 0, 0]]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_the_connected_zero_of_something_not_finite_is_not_a_number(bad):
    assert connected_zero(torch.ones(2), torch.tensor([0.0, bad])).isnan()


def test_the_connected_zero_does_not_overflow():
    assert connected_zero(torch.full((3,), torch.finfo(torch.float32).max)) == 0
