import math

import pytest
import torch

from codiemb_pipeline.evaluate.embedding_stats import alignment, anisotropy, spectrum, token_similarity, uniformity

ORTHOGONAL = torch.diag(torch.tensor([1.0, 2.0, 5.0, 0.1]))  # lengths do not matter
COLLAPSED = torch.tensor([[3.0, 4.0]]) * torch.tensor([[1.0], [2.0], [10.0]])


def test_orthogonal_rows_are_isotropic_and_collapsed_rows_are_not():
    assert anisotropy(ORTHOGONAL) == pytest.approx(0.0, abs=1e-12)
    assert anisotropy(COLLAPSED) == pytest.approx(1.0, abs=1e-7)
    assert anisotropy(torch.tensor([[1.0, 0.0], [-2.0, 0.0]])) == pytest.approx(-1.0, abs=1e-12)


def test_anisotropy_is_the_mean_cosine_of_different_rows():
    rows = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    cosines = [float(torch.cosine_similarity(rows[i], rows[j], dim=0)) for i in range(7) for j in range(7) if i != j]
    assert anisotropy(rows) == pytest.approx(sum(cosines) / len(cosines), abs=1e-6)


def test_alignment_is_the_mean_squared_distance_of_partners():
    first = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    second = torch.tensor([[5.0, 0.0], [3.0, 0.0], [-1.0, -1.0]])  # the same way, a right angle, opposite
    assert alignment(first, second) == pytest.approx((0 + 2 + 4) / 3, abs=1e-12)
    assert alignment(first[:0], second[:0]) is None


def test_uniformity_is_zero_when_collapsed_and_minus_four_at_right_angles():
    assert uniformity(COLLAPSED) == pytest.approx(0.0, abs=1e-6)
    assert uniformity(ORTHOGONAL) == pytest.approx(-4.0, abs=1e-9)  # every squared distance is 2
    line = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])  # squared distances 2, 2, 4
    assert uniformity(line) == pytest.approx(math.log((2 * math.exp(-4) + math.exp(-8)) / 3), abs=1e-9)


def test_orthogonal_rows_use_every_direction_alike():
    measured = spectrum(3 * torch.eye(4))
    expected = {"effective_rank": 4.0, "svd_entropy": 1.0, "numeric_rank": 4, "condition_number": 1.0}
    assert measured == pytest.approx(expected, abs=1e-9)


def test_collapsed_rows_use_one_direction_and_have_no_condition_number():
    measured = spectrum(COLLAPSED)
    assert measured["effective_rank"] == pytest.approx(1.0, abs=1e-4)
    assert measured["svd_entropy"] == pytest.approx(0.0, abs=1e-4)
    assert measured["numeric_rank"] == 1
    assert measured["condition_number"] is None


def test_the_spectrum_of_known_singular_values():
    rows = torch.tensor([[1.0, 0.0]] * 9 + [[0.0, 1.0]])  # singular values 3 and 1
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    expected = {
        "effective_rank": math.exp(entropy),
        "svd_entropy": entropy / math.log(2),
        "numeric_rank": 2,
        "condition_number": 3.0,
    }
    assert spectrum(rows) == pytest.approx(expected, abs=1e-9)


def test_one_dimension_has_no_entropy():
    expected = {"effective_rank": 1.0, "svd_entropy": 0.0, "numeric_rank": 1, "condition_number": 1.0}
    assert spectrum(torch.tensor([[2.0], [3.0]])) == pytest.approx(expected)


def test_token_similarity_is_the_mean_cosine_of_a_text_s_different_tokens():
    states = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 1, 1]])
    expected = []
    for text, kept in zip(states, mask.bool(), strict=True):
        tokens = text[kept]
        pairs = [(i, j) for i in range(len(tokens)) for j in range(len(tokens)) if i != j]
        cosines = [float(torch.cosine_similarity(tokens[i], tokens[j], dim=0)) for i, j in pairs]
        expected.append(sum(cosines) / len(cosines))
    assert token_similarity(states, mask).tolist() == pytest.approx(expected, abs=1e-6)


def test_a_single_token_is_like_nothing():
    assert token_similarity(torch.ones(1, 3, 2), torch.tensor([[1, 0, 0]])).isnan().all()
