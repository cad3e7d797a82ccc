from math import log2

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from codiemb_pipeline.scoring.metrics import ndcg_at_k, spearman


def test_ndcg_discounts_graded_relevance_by_rank():
    ranked = torch.tensor([[4, 0, 2, 1, 3]])
    # Found at ranks 2 (gain 3) and 4 (gain 1); best would be 3, 2, 1 at ranks 1 to 3 (document 9 is never found).
    expected = (3 / log2(3) + 1 / log2(5)) / (3 + 2 / log2(3) + 1 / log2(4))
    assert ndcg_at_k(ranked, {0: {0: 3, 1: 1, 9: 2}}, 5) == pytest.approx(expected, abs=1e-12)


def test_ndcg_looks_no_deeper_than_k_neither_for_found_nor_for_best():
    ranked = torch.tensor([[0, 1, 2, 3]])
    assert ndcg_at_k(ranked, {0: {2: 1}}, 2) == 0.0
    assert ndcg_at_k(ranked, {0: {0: 1, 1: 1, 2: 1, 3: 1}}, 2) == pytest.approx(1.0, abs=1e-12)


def test_ndcg_is_the_mean_over_queries_that_have_a_relevant_document():
    ranked = torch.tensor([[0, 1], [1, 0], [0, 1]])
    only_judged = ndcg_at_k(ranked, {0: {0: 1}, 2: {1: 1}}, 10)  # query 1 has none and does not count as 0
    assert only_judged == pytest.approx((1 + 1 / log2(3)) / 2, abs=1e-12)


def test_ndcg_of_fewer_documents_than_k_counts_those_there_are():
    assert ndcg_at_k(torch.tensor([[1, 0]]), {0: {0: 2, 1: 2}}, 10) == pytest.approx(1.0, abs=1e-12)


def test_ndcg_without_any_relevant_document_is_an_error():
    with pytest.raises(ValueError, match="found none"):
        ndcg_at_k(torch.tensor([[0]]), {}, 10)


@example([(1, 0), (1, 1)])
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 4)), min_size=2, max_size=40))
def test_spearman_is_scipy_s_with_ties(rows):
    first, second = zip(*rows, strict=True)
    constant = len(set(first)) == 1 or len(set(second)) == 1
    expected = 0.0 if constant else float(spearmanr(first, second).statistic)
    found = spearman(torch.tensor(first, dtype=torch.float32), torch.tensor(second, dtype=torch.float32))
    assert found == pytest.approx(expected, abs=1e-9)


def test_spearman_sees_order_alone():
    rising = torch.tensor([0.1, 0.2, 0.30000001, 0.9])
    assert spearman(rising, rising.exp()) == pytest.approx(1.0, abs=1e-12)
    assert spearman(rising, -rising) == pytest.approx(-1.0, abs=1e-12)
