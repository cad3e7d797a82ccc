"""Masks of the optional terms: a margin above the positive, queries as negatives of queries, positives to queries."""

from __future__ import annotations

import torch

from codiemb_pipeline.losses.query_masks import above_positive, query_masks, reverse_masks


def test_a_candidate_above_the_best_positive_by_more_than_the_margin_is_masked():
    """Similarities of one query: positives 0.5 and 0.2, others 0.65, 0.55, 0.9 and 0.1; the bound is 0.5 + 0.1."""
    candidates = torch.tensor([[0.5], [0.2], [0.65], [0.55], [0.9], [0.1]])
    positive = torch.tensor([[True, True, False, False, False, False]])
    masked = above_positive(torch.ones(1, 1), candidates, positive, margin=0.1)
    assert masked.tolist() == [[False, False, True, False, True, False]]


def test_a_query_without_positives_masks_nothing():
    assert not above_positive(torch.ones(1, 1), torch.ones(2, 1), torch.zeros(1, 2, dtype=torch.bool), margin=0.0).any()


def test_the_margin_has_no_gradient():
    queries = torch.ones(1, 1, requires_grad=True)
    assert not above_positive(queries, torch.ones(2, 1), torch.tensor([[True, False]]), margin=0.0).requires_grad


def test_queries_that_ask_for_the_same_are_no_negatives_of_each_other():
    """The second process holds queries 12 and 13 (rows 2 and 3 of 10, 11, 12, 13, 12 again).

    12 shares document 7 with 10; its text is that of row 4; 13 shares the filler -1 only, which is no document.
    """
    everyone = torch.tensor([10, 11, 12, 13, 12])
    known = torch.tensor([[7, -1], [8, -1], [6, 7], [9, -1], [5, -1]])
    ignore = query_masks(everyone[2:4], known[2:4], everyone, known, first_row=2)
    assert ignore.tolist() == [[True, False, True, False, True], [False, False, False, True, False]]


def test_a_document_has_its_owner_as_positive_and_its_other_queries_ignored():
    """Queries 10, 11, 12 with documents 7 8, 8, 9. Anchors: 7 and 8 of the first, 9 and an empty slot of the third."""
    queries, known = torch.tensor([10, 11, 12]), torch.tensor([[7, 8], [8, -1], [9, -1]])
    positive, ignore = reverse_masks(torch.tensor([7, 8, 9, -1]), torch.tensor([0, 0, 2, 2]), queries, known)
    assert positive.tolist() == [[True, False, False], [True, False, False], [False, False, True], [False] * 3]
    assert ignore[:3].tolist() == [[False, False, False], [False, True, False], [False, False, False]]


def test_a_query_with_the_text_of_the_document_or_of_its_owner_is_no_negative_of_it():
    """Query rows 1 and 2 read as the document (text 7) and as the owner (text 10)."""
    queries, known = torch.tensor([10, 7, 10, 11]), torch.tensor([[7], [1], [2], [3]])
    positive, ignore = reverse_masks(torch.tensor([7]), torch.tensor([0]), queries, known)
    assert positive.tolist() == [[True, False, False, False]]
    assert ignore.tolist() == [[False, True, True, False]]
