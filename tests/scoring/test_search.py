"""Top-k search against a naive full sort; embeddings hold small whole numbers: scores are exact and often tie."""

import pytest
import torch

from codiemb_pipeline.scoring.search import _keys_of, top_k


def whole_numbers(rows: int, size: int, seed: int) -> torch.Tensor:
    return torch.randint(-2, 3, (rows, size), generator=torch.Generator().manual_seed(seed)).float()


def full_sort(queries: torch.Tensor, documents: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    scores, indices = (queries @ documents.T).sort(dim=1, descending=True, stable=True)
    return scores[:, :k], indices[:, :k]


@pytest.mark.parametrize("block_queries", [1, 2, 3, 5, 6, 7, 100])
@pytest.mark.parametrize("block_documents", [1, 2, 3, 4, 9, 16, 17, 18, 100])
@pytest.mark.parametrize("k", [1, 4, 17])
def test_every_block_size_agrees_with_a_full_sort_ties_included(block_queries, block_documents, k):
    queries, documents = whole_numbers(6, 3, 0), whole_numbers(17, 3, 1)
    expected_scores, expected_indices = full_sort(queries, documents, k)
    assert len(expected_scores.unique()) < expected_scores.numel()
    scores, indices = top_k(queries, documents, k, block_queries=block_queries, block_documents=block_documents)
    assert torch.equal(scores, expected_scores)
    assert torch.equal(indices, expected_indices)


def test_ties_go_to_the_lower_index_across_blocks():
    documents = torch.tensor([[0.0], [1.0], [0.0], [1.0], [1.0], [-1.0]])
    scores, indices = top_k(torch.tensor([[1.0], [-1.0]]), documents, 4, block_queries=2, block_documents=2)
    assert indices.tolist() == [[1, 3, 4, 0], [5, 0, 2, 1]]
    assert scores.tolist() == [[1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, -1.0]]


def test_zero_and_minus_zero_are_the_same_score():
    # By the keys themselves: whether a product comes out as -0.0 is up to the machine's matrix product.
    keys = _keys_of(torch.tensor([[-0.0, 0.0, -0.0, -1e-30]]), torch.arange(4))
    assert keys.sort(descending=True).indices.tolist() == [[0, 1, 2, 3]]


def test_real_valued_scores_are_returned_bit_for_bit():
    generator = torch.Generator().manual_seed(3)
    queries, documents = torch.randn(5, 8, generator=generator), torch.randn(40, 8, generator=generator)
    expected_scores, expected_indices = full_sort(queries, documents, 12)
    scores, indices = top_k(queries, documents, 12, block_queries=5, block_documents=40)
    assert (scores < 0).any() or (expected_scores < 0).sum() == 0
    assert torch.equal(scores, expected_scores)
    assert torch.equal(indices, expected_indices)


def test_k_is_capped_at_the_number_of_documents():
    scores, indices = top_k(whole_numbers(2, 3, 0), whole_numbers(4, 3, 1), 50, block_queries=8, block_documents=3)
    assert scores.shape == indices.shape == (2, 4)
    assert sorted(indices[0].tolist()) == [0, 1, 2, 3]


def test_no_queries_and_no_documents_give_empty_results():
    for queries, documents, shape in ((0, 4, (0, 3)), (2, 0, (2, 0))):
        scores, indices = top_k(torch.ones(queries, 5), torch.ones(documents, 5), 3, block_queries=2, block_documents=2)
        assert scores.shape == indices.shape == shape
        assert (scores.dtype, indices.dtype) == (torch.float32, torch.int64)


def test_half_precision_embeddings_are_scored_in_float32():
    queries, documents = torch.tensor([[256.0, 1.0]]).bfloat16(), torch.tensor([[1.0, 0.0], [1.0, 1.0]]).bfloat16()
    assert top_k(queries, documents, 2, block_queries=1, block_documents=2)[0].tolist() == [[257.0, 256.0]]


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        top_k(torch.tensor([[float("nan")]]), torch.ones(3, 1), 1, block_queries=1, block_documents=2)


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_sizes_below_one_are_refused(sizes):
    k, block_queries, block_documents = sizes
    with pytest.raises(ValueError, match="expected 1 or more"):
        top_k(torch.ones(1, 2), torch.ones(1, 2), k, block_queries=block_queries, block_documents=block_documents)


def test_embeddings_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(4, 5\)"):
        top_k(torch.ones(2, 3), torch.ones(4, 5), 1, block_queries=1, block_documents=1)
