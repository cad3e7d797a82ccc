"""CoSENT and cosine regression, the baselines."""

import math

import pytest
import torch

from codiemb_pipeline.losses.cosent import cosent, cosent_retrieval
from codiemb_pipeline.losses.cosine import cosine_regression


def naive(predicted, gold, temperature):
    total = 1.0
    for i, y_i in enumerate(gold.tolist()):
        for j, y_j in enumerate(gold.tolist()):
            if y_i > y_j:
                total += math.exp((predicted[j] - predicted[i]).item() / temperature)
    return math.log(total)


def test_three_pairs_by_hand():
    """y = 1, 0, 0 and s = 0.2, 0.4, 0.1 at T = 0.1: pairs (0, 1) and (0, 2) are ordered by people.

    exp((0.4 - 0.2) / 0.1) = e^2, exp((0.1 - 0.2) / 0.1) = e^-1, so log(1 + e^2 + e^-1) = 2.170 700...
    """
    loss = cosent(torch.tensor([0.2, 0.4, 0.1]), torch.tensor([1.0, 0.0, 0.0]), temperature=0.1)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(2) + math.exp(-1)), rel=1e-6)


@pytest.mark.parametrize("pairs", [2, 3, 9, 32])
def test_it_equals_the_naive_double_loop(generator, pairs):
    predicted = torch.rand(pairs, generator=generator, dtype=torch.float64) * 2 - 1
    gold = (torch.rand(pairs, generator=generator) * 4).round() / 4  # with ties
    assert cosent(predicted, gold, temperature=0.05).item() == pytest.approx(naive(predicted, gold, 0.05), rel=1e-9)


def test_only_the_order_of_gold_counts(generator):
    predicted, gold = torch.rand(12, generator=generator), torch.rand(12, generator=generator)
    assert cosent(predicted, gold, temperature=0.05) == cosent(predicted, 3 * gold.exp(), temperature=0.05)


def test_constant_predictions_cost_the_number_of_ordered_pairs():
    """Gold 0.1, 0.2, 0.2 has two ordered pairs, exp(0) each: log(1 + 2)."""
    loss = cosent(torch.full((3,), 0.7), torch.tensor([0.1, 0.2, 0.2]), temperature=0.05)
    assert loss.item() == pytest.approx(math.log(3))


def test_gold_scores_no_further_apart_than_the_tolerance_are_tied():
    """y = 1, 1e-8, 0: of three ordered pairs the last is a tie, so constant predictions cost log(1 + 2)."""
    gold = torch.tensor([1.0, 1e-8, 0.0], dtype=torch.float64)
    assert cosent(torch.zeros(3), gold, temperature=0.05).item() == pytest.approx(math.log(3))


def test_extreme_logits_stay_exact_in_single_precision():
    """At T = 1e-3 the two are reversed by 2000: log(1 + e^2000) is 2000, of which exp knows nothing."""
    loss = cosent(torch.tensor([-1.0, 1.0]), torch.tensor([1.0, 0.0]), temperature=1e-3)
    assert loss.item() == pytest.approx(2000, rel=1e-6)


def test_retrieval_of_one_query_by_hand():
    """Similarities of one query: positives 0.2 and 0.4, negatives 0.3 and 0.1, ignored 0.9; T = 0.1.

    The negatives give e^3 + e^1, the positives e^-2 + e^-4; the loss is log(1 + (e^3 + e)(e^-2 + e^-4)) = 1.477 08.
    """
    loss = cosent_retrieval(
        torch.ones(1, 1),
        torch.tensor([[0.2], [0.3], [0.4], [0.1], [0.9]]),
        torch.tensor([[True, False, True, False, False]]),
        torch.tensor([[False, False, False, False, True]]),
        temperature=0.1,
    )
    by_hand = math.log(1 + (math.exp(3) + math.exp(1)) * (math.exp(-2) + math.exp(-4)))
    assert loss.item() == pytest.approx(by_hand, rel=1e-6)


def test_retrieval_compares_pairs_of_different_queries():
    """Query 0 has but a positive (0.2), query 1 but a negative (0.5), T = 0.1: log(1 + e^3); alone each would be 0."""
    loss = cosent_retrieval(
        torch.tensor([[0.2], [0.5]]), torch.ones(1, 1), torch.tensor([[True], [False]]), temperature=0.1
    )
    assert loss.item() == pytest.approx(math.log(1 + math.exp(3)), rel=1e-6)


def test_retrieval_has_the_gradient_of_finite_differences(generator):
    queries, candidates = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (3, 6))
    positive = torch.rand(3, 6, generator=generator) < 0.3
    ignore = torch.rand(3, 6, generator=generator) < 0.3
    assert torch.autograd.gradcheck(
        lambda q, c: cosent_retrieval(q, c, positive, ignore, temperature=0.5),
        (queries.requires_grad_(), candidates.requires_grad_()),
    )


@pytest.mark.parametrize("with_ignored", [False, True])
def test_retrieval_equals_the_list_of_all_pairs(generator, value_and_gradients, with_ignored):
    """Gold 1 on positives and 0 elsewhere, ignored pairs left out of the list."""
    queries, candidates = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (3, 7))
    positive = torch.rand(3, 7, generator=generator) < 0.3
    ignore = (torch.rand(3, 7, generator=generator) < 0.3) if with_ignored else torch.zeros(3, 7, dtype=torch.bool)
    kept = positive | ~ignore

    def plain(q, c):
        return cosent((q @ c.T)[kept], positive[kept].double(), temperature=0.5)

    def factorised(q, c):
        return cosent_retrieval(q, c, positive, ignore if with_ignored else None, temperature=0.5)

    expected, found = (value_and_gradients(loss, queries, candidates) for loss in (plain, factorised))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("positives", [False, True], ids=["no positive", "nothing but positives"])
def test_retrieval_without_both_kinds_is_a_connected_zero(value_and_gradients, positives):
    mask = torch.full((2, 3), positives)
    value, gradients = value_and_gradients(
        lambda q, c: cosent_retrieval(q, c, mask, temperature=0.05), torch.rand(2, 4), torch.rand(3, 4)
    )
    assert value == 0
    assert [gradient.abs().sum() for gradient in gradients] == [0, 0]


def test_cosine_regression_by_hand():
    """(0.5 - 1)^2 = 0.25 and (-0.1 - 0.2)^2 = 0.09; their mean is 0.17, its gradient 2 (s - y) / n = -0.5 and -0.3."""
    predicted = torch.tensor([0.5, -0.1], requires_grad=True)
    loss = cosine_regression(predicted, torch.tensor([1.0, 0.2]))
    loss.backward()
    assert loss.item() == pytest.approx(0.17)
    assert predicted.grad.tolist() == pytest.approx([-0.5, -0.3])
