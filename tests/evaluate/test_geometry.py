"""Geometry by hand, on spaces small enough to see."""

from __future__ import annotations

import math

import pytest
import torch

from codiemb_pipeline.evaluate.geometry import alignment, anisotropy, spectrum, token_similarity, uniformity

COLLAPSED = torch.tensor([[2.0, 0.0], [5.0, 0.0], [1.0, 0.0]])
CROSS = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])


def test_a_collapsed_space_is_anisotropic_whatever_the_lengths() -> None:
    assert anisotropy(COLLAPSED) == pytest.approx(1.0)


def test_anisotropy_is_the_mean_cosine_of_different_rows() -> None:
    """The cross: of 6 pairs two have cosine -1 and four 0."""
    assert anisotropy(CROSS) == pytest.approx(-1 / 3)


def test_alignment_is_the_mean_squared_distance_of_unit_vectors() -> None:
    """Equal directions: 0; orthogonal: 2."""
    assert alignment(torch.tensor([[3.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 7.0]])) == 1.0
    assert alignment(torch.empty(0, 2), torch.empty(0, 2)) is None


def test_uniformity_by_hand() -> None:
    """Collapsed: log 1. The cross: two pairs at squared distance 4, four at 2."""
    assert uniformity(COLLAPSED) == pytest.approx(0.0)
    assert uniformity(CROSS) == pytest.approx(math.log((2 * math.exp(-8) + 4 * math.exp(-4)) / 6))


def test_spectrum_of_equal_directions_is_full() -> None:
    values = spectrum(CROSS)
    assert values["effective_rank"] == pytest.approx(2.0)
    assert values["svd_entropy"] == pytest.approx(1.0)
    assert (values["numeric_rank"], values["condition_number"]) == (2, pytest.approx(1.0))


def test_spectrum_by_hand() -> None:
    """Singular values 3 and 1: shares 3/4 and 1/4."""
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    values = spectrum(torch.diag(torch.tensor([3.0, 1.0])))
    assert values["effective_rank"] == pytest.approx(math.exp(entropy))
    assert values["svd_entropy"] == pytest.approx(entropy / math.log(2))
    assert values["condition_number"] == pytest.approx(3.0)


def test_spectrum_of_a_collapsed_space_has_rank_one_and_no_condition_number() -> None:
    values = spectrum(COLLAPSED)
    assert values["effective_rank"] == pytest.approx(1.0)
    assert (values["numeric_rank"], values["condition_number"]) == (1, None)


def test_token_similarity_leaves_padding_out() -> None:
    """Tokens (1,0) (2,0): 1. Tokens (1,0) (0,1) and a padded (9,9): 0."""
    states = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]], [[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 0]])
    assert token_similarity(states, mask).tolist() == pytest.approx([1.0, 0.0])
