"""The optional terms of the retrieval objective: InfoNCE with queries as candidates, and from documents to queries.

Each is ``info_nce_sum`` with masks of its own; here put together as a training step does, with values and gradients.
"""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from codiemb_pipeline.losses.info_nce import info_nce_sum
from codiemb_pipeline.losses.masks import candidate_masks, query_masks, reverse_masks

IDS, KNOWN = torch.tensor([10, 11, 12, 13]), torch.tensor([[1, -1], [2, 1], [3, -1], [4, -1]])
SHOWN = torch.tensor([1, 2, 3, 4])  # one document per query; text 1 also answers query 11


def unit_rows(generator, *counts):
    return [normalize(torch.randn(n, 4, generator=generator, dtype=torch.float64), dim=1) for n in counts]


def reverse(queries, documents, first_row=0, count=4, known=KNOWN, temperature=0.1):
    """Documents of rows ``first_row`` on against the queries of all."""
    owners = first_row + torch.arange(count)
    positive, ignore = reverse_masks(SHOWN[owners], owners, IDS, known)
    return info_nce_sum(documents[owners], queries, positive, ignore, temperature=temperature)


def with_queries(queries, documents, first_row=0, count=4, temperature=0.1):
    """Queries of rows ``first_row`` on against the documents and the queries of all."""
    own = slice(first_row, first_row + count)
    shape = {"first_column": first_row, "positives_per_query": 1, "documents_per_query": 1}
    masks = candidate_masks(IDS[own], KNOWN[own], SHOWN, **shape)
    others = query_masks(IDS[own], KNOWN[own], IDS, KNOWN, first_row=first_row)
    return info_nce_sum(
        queries[own],
        torch.cat([documents, queries]),
        torch.cat([masks.positive, torch.zeros_like(others)], dim=1),
        torch.cat([masks.ignore, others], dim=1),
        temperature=temperature,
    )


def test_the_symmetric_term_by_hand():
    """Queries 1, 0.5, 0, -1 on a line, all documents 1, T = 1; document 0 (text 1) also answers query row 1.

    Document 0: logit 1 against 0 and -1: log(1 + e^-1 + e^-2). The other logits: q = 1, 0.5, 0, -1 for all, so the
    normaliser is log(e + e^0.5 + 1 + e^-1) less 0.5, 0 and -1.
    """
    queries, documents = torch.tensor([[1.0], [0.5], [0.0], [-1.0]]), torch.ones(4, 1)
    total, count = reverse(queries, documents, temperature=1.0)
    normaliser = math.log(math.e + math.exp(0.5) + 1 + math.exp(-1))
    by_hand = math.log(1 + math.exp(-1) + math.exp(-2)) + 3 * normaliser - 0.5 - 0 + 1
    assert count == 4
    assert total.item() == pytest.approx(by_hand, rel=1e-6)


def test_the_symmetric_term_is_the_cross_entropy_of_the_transposed_similarities(generator):
    """Where each document answers its own query only: CLIP's second direction."""
    queries, documents = unit_rows(generator, 4, 4)
    total, count = reverse(queries, documents, known=SHOWN[:, None])
    expected = cross_entropy(documents @ queries.T / 0.1, torch.arange(4))
    assert (total / count).item() == pytest.approx(expected.item(), rel=1e-10)


def test_the_query_query_term_by_hand():
    """Query 0 is 1, the others 0; documents 1, 0, 0, 0; T = 1. Own queries: the first process's, row 0 alone.

    Of the documents its own (logit 1) meets 0, 0, 0; of the queries rows 2 and 3 (0, 0), row 1 sharing text 1 with it:
    log(1 + 5 e^-1).
    """
    line = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    total, count = with_queries(line, line, count=1, temperature=1.0)
    assert count == 1
    assert total.item() == pytest.approx(math.log(1 + 5 * math.exp(-1)), rel=1e-6)


def test_the_query_query_term_equals_the_naive_loop(generator):
    queries, documents = unit_rows(generator, 4, 4)
    known = [set(row) - {-1} for row in KNOWN.tolist()]
    expected = 0.0
    for i in range(4):
        rivals = [documents[n] for n in range(4) if int(SHOWN[n]) not in known[i]]
        rivals += [queries[n] for n in range(4) if not known[n] & known[i]]
        logits = torch.stack([queries[i] @ candidate / 0.1 for candidate in [documents[i], *rivals]])
        expected += (logits.logsumexp(dim=0) - logits[0]).item()
    assert with_queries(queries, documents)[0].item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("term", [reverse, with_queries])
def test_the_sums_of_two_processes_add_up_to_that_of_one(generator, value_and_gradients, term):
    """Rows 0 and 1 on the first process, 2 and 3 on the second, each against everything gathered with gradient."""
    embeddings = unit_rows(generator, 4, 4)

    def on_two(queries, documents):
        (first, n), (second, m) = term(queries, documents, 0, 2), term(queries, documents, 2, 2)
        assert (n, m) == (2, 2)
        return first + second

    expected = value_and_gradients(lambda q, d: term(q, d)[0], *embeddings)
    torch.testing.assert_close(value_and_gradients(on_two, *embeddings), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("term", [reverse, with_queries])
@pytest.mark.parametrize("first_row", [0, 2])
def test_the_gradient_is_that_of_finite_differences(generator, term, first_row):
    queries, documents = (rows.requires_grad_() for rows in unit_rows(generator, 4, 4))
    assert torch.autograd.gradcheck(lambda q, d: term(q, d, first_row, 2, temperature=0.5)[0], (queries, documents))


def test_a_slot_without_a_document_adds_nothing_to_the_symmetric_term(value_and_gradients):
    def empty(queries, documents):
        positive, ignore = reverse_masks(torch.tensor([-1, -1]), torch.tensor([0, 1]), IDS, KNOWN)
        total, count = info_nce_sum(documents, queries, positive, ignore, temperature=0.02)
        assert count == 0
        return total

    value, gradients = value_and_gradients(empty, torch.rand(4, 3), torch.rand(2, 3))
    assert value == 0
    assert [gradient.abs().sum() for gradient in gradients] == [0, 0]
