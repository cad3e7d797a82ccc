from __future__ import annotations

import pytest
import torch
from scipy.stats import rankdata

from codiemb_pipeline.losses.rank_kl import average_ranks


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
