import math

import pytest
import torch
from scipy.stats import rankdata

from codiemb_pipeline.losses.rank_kl import average_ranks, rank_kl

PREDICTED = torch.tensor([0.1, -0.3, 0.5, 0.45, 0.2], dtype=torch.float64)
GOLD = torch.tensor([0.0, 0.2, 0.9, 0.4, 0.4], dtype=torch.float64)


def naive(predicted, gold, temperature):
    pairs = len(predicted)
    places = []
    for y in gold:
        above = sum(1 for other in gold if other > y)
        tied = sum(1 for other in gold if other == y)
        places.append(above + (tied - 1) / 2)
    target = [math.exp((pairs - 1 - place) / (pairs - 1) / temperature) for place in places]
    target = [weight / sum(target) for weight in target]
    normaliser = sum((s / temperature).exp() for s in predicted)
    terms = [p * (math.log(p) - (s / temperature - normaliser.log())) for p, s in zip(target, predicted, strict=True)]
    return sum(terms) / pairs


def test_two_pairs_by_hand():
    """Ranks 1 and 0, so the target is softmax(0, 1) at T = 1: 1/(1+e), e/(1+e). Equal predictions give 1/2 each.
    KL = sum p log p + log 2 = log 2 + e/(1+e) - log(1+e) = 0.110944; half of it per pair.
    """
    expected = math.log(2) + math.e / (1 + math.e) - math.log(1 + math.e)
    predicted, gold = torch.tensor([0.4, 0.4]), torch.tensor([0.1, 0.9])
    assert rank_kl(predicted, gold, temperature=1.0, divide_by_pairs=False).item() == pytest.approx(expected, rel=1e-5)
    assert rank_kl(predicted, gold, temperature=1.0).item() == pytest.approx(expected / 2, rel=1e-5)


def test_the_gradient_is_model_less_target_over_temperature(value_and_gradients):
    """d KL / d s_i = (q_i - p_i) / T; q = 1/2, 1/2 and p = 1/(1+e^2), e^2/(1+e^2) at T = 1/2."""
    gold = torch.tensor([0.1, 0.9])
    _, (gradient,) = value_and_gradients(
        lambda s: rank_kl(s, gold, temperature=0.5, divide_by_pairs=False), torch.tensor([0.4, 0.4])
    )
    pull = (0.5 - 1 / (1 + math.e**2)) / 0.5
    assert gradient.tolist() == pytest.approx([pull, -pull], rel=1e-5)


def test_the_released_division_by_pairs_is_the_default():
    summed = rank_kl(PREDICTED, GOLD, temperature=0.05, divide_by_pairs=False)
    assert rank_kl(PREDICTED, GOLD, temperature=0.05).item() == pytest.approx(summed.item() / 5, rel=1e-12)


def test_predictions_spread_like_the_ranks_cost_nothing():
    gold = torch.tensor([0.9, 0.1, 0.3], dtype=torch.float64)
    predicted = torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64)
    assert rank_kl(predicted - 0.25, gold, temperature=0.05).item() == pytest.approx(0, abs=1e-12)


def test_tied_gold_scores_share_one_target(value_and_gradients):
    """Where the predictions are equal, the gradient (q_i - p_i) / (n T) differs by the target alone."""
    gold = torch.tensor([0.5, 0.1, 0.5, 1.0], dtype=torch.float64)
    _, (gradient,) = value_and_gradients(lambda s: rank_kl(s, gold, temperature=0.05), torch.zeros(4).double())
    assert gradient[0] == gradient[2]
    assert gradient[1] > gradient[0] > gradient[3]


def test_constant_gold_pulls_towards_equal_predictions(value_and_gradients):
    """All tied: the target is uniform. q = 1/(1+e), e/(1+e): KL = -log 2 - mean log q = log(1+e) - 1/2 - log 2."""
    gold = torch.full((2,), 0.3)
    value, (gradient,) = value_and_gradients(
        lambda s: rank_kl(s, gold, temperature=1.0, divide_by_pairs=False), torch.tensor([0.0, 1.0])
    )
    assert value.item() == pytest.approx(math.log(1 + math.e) - 0.5 - math.log(2), rel=1e-5)
    assert gradient[0] < 0 < gradient[1]
    assert rank_kl(torch.full((2,), 0.8), gold, temperature=1.0).item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("count", [2, 3, 8, 50])
@pytest.mark.parametrize("levels", [2, 6, 1000])
def test_it_equals_the_naive_loop(generator, value_and_gradients, count, levels):
    predicted = torch.rand(count, generator=generator, dtype=torch.float64) * 2 - 1
    gold = torch.randint(levels, (count,), generator=generator).double() / levels
    value, (gradient,) = value_and_gradients(lambda s: rank_kl(s, gold, temperature=0.05), predicted)
    expected, (expected_gradient,) = value_and_gradients(lambda s: naive(s, gold.tolist(), 0.05), predicted)
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("change", [lambda y: y * 5, lambda y: y**3 - 2, torch.exp], ids=["scale", "cube", "exp"])
def test_a_monotone_change_of_gold_changes_nothing(change):
    expected = rank_kl(PREDICTED, GOLD, temperature=0.05)
    assert rank_kl(PREDICTED, change(GOLD), temperature=0.05) == expected


def test_a_shift_of_the_predictions_changes_nothing():
    expected = rank_kl(PREDICTED, GOLD, temperature=0.05).item()
    assert rank_kl(PREDICTED + 0.3, GOLD, temperature=0.05).item() == pytest.approx(expected, rel=1e-10)


def test_places_count_from_zero_and_ascend():
    assert average_ranks(torch.tensor([0.3, 0.1, 0.2])).tolist() == [2, 0, 1]


def test_tied_values_share_the_mean_of_their_places():
    """0.5 takes places 1, 2 and 3, whose mean is 2; 0.9 takes places 4 and 5, mean 4.5."""
    assert average_ranks(torch.tensor([0.5, 0.9, 0.1, 0.5, 0.9, 0.5])).tolist() == [2, 4.5, 0, 2, 4.5, 2]


def test_all_tied_values_stand_in_the_middle():
    assert average_ranks(torch.full((5,), 0.7)).tolist() == [2, 2, 2, 2, 2]


def test_positive_and_negative_zero_are_tied():
    assert average_ranks(torch.tensor([0.0, -0.0])).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("count", [0, 1])
def test_the_shortest_lists_have_ranks_too(count):
    assert average_ranks(torch.zeros(count)).tolist() == [0] * count


@pytest.mark.parametrize("levels", [2, 6, 1000])
@pytest.mark.parametrize("count", [2, 3, 17, 400])
def test_ranks_equal_those_of_scipy(generator, count, levels):
    values = torch.randint(levels, (count,), generator=generator) / levels
    assert average_ranks(values).tolist() == (rankdata(values.numpy()) - 1).tolist()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_ranks_of_other_dtypes_are_single_precision(dtype):
    ranks = average_ranks(torch.tensor([1, 0, 1], dtype=dtype))
    assert ranks.dtype == torch.float32
    assert ranks.tolist() == [1.5, 0, 1.5]


def test_a_matrix_has_no_ranks():
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        average_ranks(torch.zeros(2, 2))
