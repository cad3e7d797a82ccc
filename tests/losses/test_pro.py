import math

import pytest
import torch

from codiemb_pipeline.losses.pro import pro

PREDICTED = torch.tensor([0.1, -0.3, 0.5, 0.45, 0.2], dtype=torch.float64)
GOLD = torch.tensor([0.0, 0.2, 0.9, 0.4, 0.4], dtype=torch.float64)


def naive(predicted, gold, temperature):
    """Pair after pair down the order of gold, each against its tail."""
    order = sorted(range(len(gold)), key=lambda index: -gold[index])
    losses = []
    for position, k in enumerate(order):
        tail = [j for j in order[position + 1 :] if gold[k] - gold[j] > 1e-8]
        if not tail:
            continue
        own = max(gold[k] - gold[j] for j in tail) * predicted[k] / temperature
        others = [(gold[k] - gold[j]) * predicted[j] / temperature for j in tail]
        losses.append(torch.stack([own, *others]).logsumexp(dim=0) - own)
    return sum(losses) / len(losses) if losses else sum(predicted) * 0


def test_three_pairs_by_hand():
    """y = 1, 0.5, 0 and s = 0.2, 0.6, 0.4 at T = 1.
    k = 0: weights 0.5 and 1, own 1; logits 0.2 | 0.6 * 0.5 = 0.3, 0.4 * 1 = 0.4.
    k = 1: weight 0.5, own 0.5; logits 0.3 | 0.2. k = 2 has no tail, so the mean is over two.
    """
    first = math.log(math.exp(0.2) + math.exp(0.3) + math.exp(0.4)) - 0.2
    second = math.log(math.exp(0.3) + math.exp(0.2)) - 0.3
    loss = pro(torch.tensor([0.2, 0.6, 0.4]), torch.tensor([1.0, 0.5, 0.0]), temperature=1.0)
    assert loss.item() == pytest.approx((first + second) / 2, rel=1e-6)


def test_the_gradient_of_two_pairs_by_hand(value_and_gradients):
    """y = 0.5, 0: logits s_0/2T and s_1/2T; equal s give 1/2 each, so at T = 0.25 the gradient is -+ 1/2 * 0.5/0.25."""
    gold = torch.tensor([0.5, 0.0])
    value, (gradient,) = value_and_gradients(lambda s: pro(s, gold, temperature=0.25), torch.tensor([0.3, 0.3]))
    assert value.item() == pytest.approx(math.log(2), rel=1e-6)
    assert gradient.tolist() == pytest.approx([-1.0, 1.0], rel=1e-6)


def test_tied_gold_scores_are_not_set_against_each_other(value_and_gradients):
    """y = 1, 1, 0: each 1 meets the 0 alone. Swapping the predictions of the two changes nothing."""
    gold = torch.tensor([1.0, 1.0, 0.0])
    loss = pro(torch.tensor([0.3, 0.1, 0.2]), gold, temperature=1.0).item()
    by_hand = (math.log(1 + math.exp(0.2 - 0.3)) + math.log(1 + math.exp(0.2 - 0.1))) / 2
    assert loss == pytest.approx(by_hand, rel=1e-6)
    assert pro(torch.tensor([0.1, 0.3, 0.2]), gold, temperature=1.0).item() == pytest.approx(loss, rel=1e-6)


def test_differences_up_to_the_tolerance_count_as_ties():
    predicted = torch.tensor([0.3, 0.1], dtype=torch.float64)
    assert pro(predicted, torch.tensor([1e-8, 0.0], dtype=torch.float64), temperature=1.0) == 0
    assert pro(predicted, torch.tensor([2e-8, 0.0], dtype=torch.float64), temperature=1.0) > 0.69


def test_a_pair_with_nothing_but_ties_below_it_is_not_counted():
    """y = 1, 5e-9, 0: only the first has a tail, with weights of 1 up to 5e-9; nothing is halved."""
    predicted = torch.tensor([0.2, 0.6, 0.4], dtype=torch.float64)
    loss = pro(predicted, torch.tensor([1.0, 5e-9, 0.0], dtype=torch.float64), temperature=1.0)
    by_hand = math.log(math.exp(0.2) + math.exp(0.6) + math.exp(0.4)) - 0.2
    assert loss.item() == pytest.approx(by_hand, rel=1e-7)


@pytest.mark.parametrize("count", [2, 3, 8, 40])
@pytest.mark.parametrize("levels", [2, 6, 1000])
def test_it_equals_the_naive_loop(generator, value_and_gradients, count, levels):
    predicted = torch.rand(count, generator=generator, dtype=torch.float64) * 2 - 1
    gold = torch.randint(levels, (count,), generator=generator).double() / levels
    value, (gradient,) = value_and_gradients(lambda s: pro(s, gold, temperature=0.05), predicted)
    expected, (expected_gradient,) = value_and_gradients(lambda s: naive(s, gold.tolist(), 0.05), predicted)
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-12)


def test_a_shift_of_gold_changes_nothing():
    expected = pro(PREDICTED, GOLD, temperature=0.05).item()
    assert pro(PREDICTED, GOLD + 3, temperature=0.05).item() == pytest.approx(expected, rel=1e-10)


def test_the_scale_of_gold_works_like_an_inverse_temperature():
    expected = pro(PREDICTED, GOLD, temperature=0.05).item()
    assert pro(PREDICTED, GOLD * 5, temperature=0.25).item() == pytest.approx(expected, rel=1e-10)


def test_constant_predictions_are_pulled_apart(value_and_gradients):
    """s = 0 everywhere makes all logits 0: a pair with a tail of m costs log(m + 1). y = 1, 0.5, 0: log 3 and log 2."""
    gold = torch.tensor([1.0, 0.5, 0.0])
    value, (gradient,) = value_and_gradients(lambda s: pro(s, gold, temperature=0.05), torch.zeros(3))
    assert value.item() == pytest.approx(math.log(6) / 2, rel=1e-6)
    assert gradient[0] < 0 < gradient[2]
