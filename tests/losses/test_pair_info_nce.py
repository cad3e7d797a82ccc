import math

import pytest
import torch
from objective_params import info_nce
from torch.nn.functional import normalize

from codiemb_pipeline.losses.pair_info_nce import pair_info_nce_sum


def test_by_hand():
    """a_0, a_2 = east; b = east, north, west; gold 1, 0.2, 0.8, threshold 0.8, T = 1.
    Pair 0: logits 1 | 0, -1. Pair 2: logits -1 | 1, 0. Pair 1 is no query, yet its b is among the negatives.
    """
    east, north, west = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]
    total, count = pair_info_nce_sum(
        torch.tensor([east, north, east]),
        torch.tensor([east, north, west]),
        torch.tensor([1.0, 0.2, 0.8]),
        threshold=0.8,
        temperature=1.0,
    )
    normaliser = math.log(math.e + 1 + 1 / math.e)
    assert count == 2
    assert total.item() == pytest.approx((normaliser - 1) + (normaliser + 1), rel=1e-6)


def test_pairs_below_the_threshold_get_gradients_as_negatives_only(value_and_gradients, generator):
    gold = torch.tensor([1.0, 0.2, 0.8])
    a, b = (normalize(torch.randn(3, 4, generator=generator), dim=1) for _ in range(2))
    _, (by_a, by_b) = value_and_gradients(
        lambda a, b: pair_info_nce_sum(a, b, gold, threshold=0.8, temperature=0.5)[0], a, b
    )
    assert by_a[1].tolist() == [0, 0, 0, 0]
    assert by_b[1].abs().sum() > 0


def test_candidates_of_other_processes_shift_the_own_ones(generator):
    """Rank 1 of two: its two b are rows 2 and 3 of the gathered ones."""
    a, b = (normalize(torch.randn(count, 4, generator=generator), dim=1) for count in (2, 4))
    total, count = pair_info_nce_sum(a, b, torch.ones(2), threshold=0.8, temperature=0.1, first_column=2)
    own = torch.tensor([[False, False, True, False], [False, False, False, True]])
    assert (total / count).item() == pytest.approx(info_nce(a, b, own, temperature=0.1).item(), rel=1e-6)


def test_ignores_what_it_is_told_to(generator):
    a, b = (normalize(torch.randn(2, 4, generator=generator), dim=1) for _ in range(2))
    others = ~torch.eye(2, dtype=torch.bool)
    total, count = pair_info_nce_sum(a, b, torch.ones(2), others, threshold=0.8, temperature=0.1)
    assert (total, count) == (0, 2)


def test_no_good_pair_costs_nothing_and_stays_connected(value_and_gradients):
    value, gradients = value_and_gradients(
        lambda a, b: pair_info_nce_sum(a, b, torch.tensor([0.1, 0.7]), threshold=0.8, temperature=0.02)[0],
        torch.ones(2, 3),
        torch.ones(2, 3),
    )
    assert value == 0
    assert [gradient.abs().sum() for gradient in gradients] == [0, 0]


@pytest.mark.usefixtures("as_on_an_accelerator")
def test_where_values_are_not_read_gold_that_is_not_a_number_shows_in_the_loss():
    total, _ = pair_info_nce_sum(
        torch.ones(2, 3), torch.ones(2, 3), torch.tensor([1.0, float("nan")]), threshold=0.8, temperature=0.02
    )
    assert total.isnan()


@pytest.mark.parametrize(("gold", "first_column"), [(3, 0), (2, 1), (2, -1)])
def test_shapes_that_do_not_fit_are_refused(gold, first_column):
    with pytest.raises(ValueError, match="2 pairs"):
        pair_info_nce_sum(
            torch.ones(2, 3),
            torch.ones(2, 3),
            torch.ones(gold),
            threshold=0.8,
            temperature=0.02,
            first_column=first_column,
        )
