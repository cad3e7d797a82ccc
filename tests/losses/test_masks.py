"""Which candidates are positives, which are ignored; the optional terms: a margin, queries as negatives, both ways."""

import math

import pytest
import torch
from objective_params import info_nce

from codiemb_pipeline.losses.masks import above_positive, candidate_masks, query_masks, reverse_masks

NONE = -1


def columns(mask):
    """The columns that are True in each row."""
    return [row.nonzero().flatten().tolist() for row in mask]


def masks(query_ids, known, candidate_ids, *, first_column=0, positives=2, width=3, ignore_known=True):
    known = torch.tensor(known, dtype=torch.int64).reshape(len(query_ids), -1)
    return candidate_masks(
        torch.tensor(query_ids),
        known,
        torch.tensor(candidate_ids),
        first_column=first_column,
        positives_per_query=positives,
        documents_per_query=width,
        ignore_known=ignore_known,
    )


# Queries, their known positives, the candidates; the columns of the positives of each query, and of what it ignores.
# Two positives and one hard negative a block unless the shape says otherwise.
CASES = {
    "positives come first in the block of their query": (
        [100, 101], [[1, 2], [4, 5]], [1, 2, 3, 4, 5, 6], {}, [[0, 1], [3, 4]], [[], []],
    ),
    "a known positive that is not shown, as another's positive (4) and hard negative (6)": (
        [100, 101], [[1, 2, 4, 6], [4, 5, NONE, NONE]], [1, 2, 3, 4, 5, 6], {}, [[0, 1], [3, 4]], [[3, 5], []],
    ),
    "an own hard negative that is a known positive": ([100], [[1, 2, 3]], [1, 2, 3], {}, [[0, 1]], [[2]]),
    "shown positives count as known": (
        [100, 101], [[], []], [1, 2, 3, 1, 5, 6], {}, [[0, 1], [3, 4]], [[3], [0]],
    ),
    "the text of the query itself": (
        [6, 101], [[1, 2], [4, 5]], [1, 2, 3, 4, 5, 6], {}, [[0, 1], [3, 4]], [[5], []],
    ),
    "empty slots: one positive only, no hard negative": (
        [100, 101], [[1, NONE], [4, 5]], [1, NONE, 3, 4, 5, NONE], {}, [[0], [3, 4]], [[1, 5], [1, 5]],
    ),
    "a positive repeated to fill its block counts once": (
        [100, 101], [[1, NONE], [4, 5]], [1, 1, 3, 4, 5, 6], {}, [[0], [3, 4]], [[1], [1]],
    ),
    "a text repeated within a block counts once for the other queries too": (
        [100, 101], [[1], [4]], [1, 3, 3, 4, 5, 4], {"positives": 1}, [[0], [3]], [[2, 5], [2, 5]],
    ),
    "a text in several blocks counts once for each": (
        [100, 101], [[1], [4]], [1, 3, 4, 3], {"positives": 1, "width": 2}, [[0], [2]], [[], []],
    ),
    "a query without positives": (
        [100, NONE], [[1, 2], [NONE, NONE]], [1, 2, 3, NONE, NONE, NONE], {}, [[0, 1], []], [[3, 4, 5], [3, 4, 5]],
    ),
    "pairs are blocks of one column, and equal texts do not compete": (
        [1, 2, 3, 8], [[7], [8], [7], [10]], [7, 8, 7, 10], {"positives": 1, "width": 1},
        [[0], [1], [2], [3]], [[2], [], [0], [1]],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("queries", "known", "candidates", "shape", "positive", "ignore"), CASES.values(), ids=CASES)
def test_masks_by_hand(queries, known, candidates, shape, positive, ignore):
    found = masks(queries, known, candidates, **shape)
    assert columns(found.positive) == positive
    assert columns(found.ignore) == ignore


def test_slots_number_the_positives_of_each_block():
    assert masks([100, 101], [[1, 2], [4, 5]], [1, 2, 3, 4, 5, 6]).slots.tolist() == [0, 1, -1, 0, 1, -1]


def test_the_second_process_finds_its_blocks_behind_those_of_the_first():
    """One query per process: rank 0 has columns 0 to 2, rank 1 columns 3 to 5."""
    gathered = [1, 2, 3, 4, 5, 6]
    assert columns(masks([100], [[1, 2]], gathered, first_column=0).positive) == [[0, 1]]
    assert columns(masks([101], [[4, 5]], gathered, first_column=3).positive) == [[3, 4]]


def test_both_processes_together_see_what_one_would():
    gathered = [1, 2, 3, 4, 1, 6, 7, 8, 1, 2, NONE, 9]
    queries, known = [100, 101, 102, 103], [[1, 2], [4, 1], [7, 8], [2, NONE]]
    whole = masks(queries, known, gathered)
    first = masks(queries[:2], known[:2], gathered, first_column=0)
    second = masks(queries[2:], known[2:], gathered, first_column=6)
    assert torch.equal(whole.positive, torch.cat([first.positive, second.positive]))
    assert torch.equal(whole.ignore, torch.cat([first.ignore, second.ignore]))
    assert torch.equal(whole.slots, second.slots)


def test_defect_12_a_document_of_two_queries_is_no_negative_of_either():
    """Text 1 is shown for both; each has it as positive in its own block and ignores the other's copy."""
    found = masks([100, 101], [[1, 2], [1, 5]], [1, 2, 3, 1, 5, 6])
    assert columns(found.positive) == [[0, 1], [3, 4]]
    assert columns(found.ignore) == [[3], [0]]


@pytest.mark.parametrize("first_column", [0, 6])
def test_as_released_known_positives_are_negatives_wherever_they_stand(first_column):
    """Text 1 is shown for both, query 100's own hard negative 3 is a known positive of it, query 101's one its text.

    All that remains ignored are places without a text and repeats in a block, of which the other process has one each.
    """
    here, there = [1, 2, 3, 1, NONE, 100], [7, 7, 8, 9, NONE, 6]
    ids = here + there if first_column == 0 else there + here
    found = masks([100, 101], [[1, 2, 3], [1, NONE, NONE]], ids, first_column=first_column, ignore_known=False)
    elsewhere = 6 - first_column
    dropped = sorted([first_column + 4, elsewhere + 1, elsewhere + 4])
    assert columns(found.positive) == [[first_column, first_column + 1], [first_column + 3]]
    assert columns(found.ignore) == [dropped, dropped]


def test_where_no_text_is_known_elsewhere_ignoring_known_ones_changes_nothing():
    arguments = [100, 101], [[1, 2], [4, 5]], [1, 2, 3, 4, 5, NONE]
    kept, released = masks(*arguments), masks(*arguments, ignore_known=False)
    assert all(torch.equal(first, second) for first, second in zip(kept, released, strict=True))


def test_filling_up_changes_neither_the_loss_nor_its_gradients(generator, value_and_gradients):
    """A batch with one positive and one hard negative per query, alone and filled up to P = 2, H = 2."""
    q, d = torch.randn(2, 4, generator=generator).double(), torch.randn(4, 4, generator=generator).double()
    tight = masks([100, 101], [[1], [3]], [1, 2, 3, 4], positives=1, width=2)
    loose = masks([100, 101], [[1], [3]], [1, NONE, 2, NONE, 3, 3, 4, NONE], positives=2, width=4)

    def filled_up(queries, documents):
        rows = documents[[0, 0, 1, 1, 2, 2, 3, 3]]
        return info_nce(queries, rows, loose.positive, loose.ignore, temperature=0.5)

    expected = value_and_gradients(lambda a, b: info_nce(a, b, tight.positive, tight.ignore, temperature=0.5), q, d)
    torch.testing.assert_close(value_and_gradients(filled_up, q, d), expected)


@pytest.mark.parametrize(
    ("first_column", "candidates"),
    [(3, 6), (-3, 6), (1, 9), (0, 7)],
    ids=["beyond the end", "before the start", "not at a block", "half a block"],
)
def test_blocks_that_do_not_fit_the_candidates_are_refused(first_column, candidates):
    with pytest.raises(ValueError, match="do not fit"):
        masks([100, 101], [[1], [2]], list(range(candidates)), first_column=first_column)


def test_more_positives_than_documents_are_refused():
    with pytest.raises(ValueError, match="4 cannot be positives"):
        masks([100], [[1]], [1, 2, 3], positives=4)


def test_ids_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"known positives \(B, K\)"):
        candidate_masks(
            torch.tensor([1, 2]),
            torch.tensor([[1]]),
            torch.tensor([1, 2]),
            first_column=0,
            positives_per_query=1,
            documents_per_query=1,
        )


NONE = -1


def random_queries(generator, count):
    """Ids of queries and of their known positives; few numbers, so that texts recur in both places."""
    ids = torch.randint(0, 12, (count,), generator=generator)
    ids[-1] = NONE
    return ids, torch.randint(NONE, 16, (count, 3), generator=generator)


def texts(query, known):
    """The text of a query and those known to answer it."""
    return {query, *known} - {NONE}


def test_a_candidate_above_the_best_positive_by_more_than_the_margin_is_masked():
    """Similarities of one query: positives 0.5 and 0.2, others 0.65, 0.55, 0.9 and 0.1; the bound is 0.5 + 0.1."""
    candidates = torch.tensor([[0.5], [0.2], [0.65], [0.55], [0.9], [0.1]])
    positive = torch.tensor([[True, True, False, False, False, False]])
    masked = above_positive(torch.ones(1, 1), candidates, positive, margin=0.1)
    assert masked.tolist() == [[False, False, True, False, True, False]]


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.5])
def test_above_the_positive_equals_the_naive_loop(generator, margin):
    queries, candidates = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (5, 9))
    positive = torch.rand(5, 9, generator=generator) < 0.25
    positive[0] = False
    expected = torch.zeros(5, 9, dtype=torch.bool)
    for i, row in enumerate((queries @ candidates.T).tolist()):
        own = [similarity for similarity, mine in zip(row, positive[i].tolist(), strict=True) if mine]
        for n, similarity in enumerate(row):
            expected[i, n] = bool(own) and not positive[i, n] and similarity > max(own) + margin
    masked = above_positive(queries, candidates, positive, margin=margin)
    assert masked.any()
    assert torch.equal(masked, expected)


def test_a_query_without_positives_masks_nothing():
    assert not above_positive(torch.ones(1, 1), torch.ones(2, 1), torch.zeros(1, 2, dtype=torch.bool), margin=0.0).any()


@pytest.mark.parametrize(("queries", "candidates"), [(0, 3), (2, 0)])
def test_empty_sides_have_an_empty_margin_mask(queries, candidates):
    positive = torch.zeros(queries, candidates, dtype=torch.bool)
    masked = above_positive(torch.ones(queries, 2), torch.ones(candidates, 2), positive, margin=0.1)
    assert masked.shape == (queries, candidates)


def test_the_margin_has_no_gradient():
    queries = torch.ones(1, 1, requires_grad=True)
    assert not above_positive(queries, torch.ones(2, 1), torch.tensor([[True, False]]), margin=0.0).requires_grad


def test_autocast_does_not_move_the_margin():
    """The positive scores 0.7499, the other 0.7501; bfloat16 would have 0.75 for both."""
    candidates = torch.tensor([[0.7499], [0.7501]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        masked = above_positive(torch.ones(1, 1), candidates, torch.tensor([[True, False]]), margin=0.0)
    assert masked.tolist() == [[False, True]]


@pytest.mark.parametrize("margin", [-0.1, math.nan])
def test_a_margin_below_zero_is_refused(margin):
    with pytest.raises(ValueError, match="margin"):
        above_positive(torch.ones(1, 1), torch.ones(2, 1), torch.tensor([[True, False]]), margin=margin)


def test_a_margin_mask_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        above_positive(torch.ones(1, 1), torch.ones(2, 1), torch.tensor([[True], [False]]), margin=0.1)


def test_queries_that_ask_for_the_same_are_no_negatives_of_each_other():
    """The second process holds queries 12 and 13 (rows 2 and 3 of 10, 11, 12, 13, 12 again).

    12 shares document 7 with 10; its text is that of row 4; 13 shares the filler -1 only, which is no document.
    """
    everyone = torch.tensor([10, 11, 12, 13, 12])
    known = torch.tensor([[7, NONE], [8, NONE], [6, 7], [9, NONE], [5, NONE]])
    ignore = query_masks(everyone[2:4], known[2:4], everyone, known, first_row=2)
    assert ignore.tolist() == [[True, False, True, False, True], [False, False, False, True, False]]


def test_a_query_whose_text_answers_another_is_no_negative_of_it_nor_the_other_way_round():
    """Text 7 is query row 1 and the known positive of query row 0; row 2 has nothing to do with either."""
    everyone, known = torch.tensor([10, 7, 11]), torch.tensor([[7], [8], [9]])
    ignore = query_masks(everyone, known, everyone, known, first_row=0)
    assert ignore.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_rows_that_only_fill_up_are_ignored_by_all():
    everyone, known = torch.tensor([10, NONE, 11]), torch.tensor([[7], [NONE], [NONE]])
    ignore = query_masks(everyone, known, everyone, known, first_row=0)
    assert ignore[:, 1].all()
    assert ignore[[0, 2]].tolist() == [[True, True, False], [False, True, True]]
    _, reverse = reverse_masks(torch.tensor([7]), torch.tensor([0]), everyone, known)
    assert reverse.tolist() == [[False, True, False]]


@pytest.mark.parametrize("first_row", [0, 4])
def test_query_masks_equal_the_naive_loop_on_every_process(generator, first_row):
    ids, known = random_queries(generator, 9)
    own = slice(first_row, first_row + 4)
    ignore = query_masks(ids[own], known[own], ids, known, first_row=first_row)
    everyone = [(query, texts(query, row)) for query, row in zip(ids.tolist(), known.tolist(), strict=True)]
    expected = [
        [
            row == first_row + own_row or other == NONE or bool(mine & theirs)
            for row, (other, theirs) in enumerate(everyone)
        ]
        for own_row, (_, mine) in enumerate(everyone[own])
    ]
    assert ignore.tolist() == expected


def test_a_document_has_its_owner_as_positive_and_its_other_queries_ignored():
    """Queries 10, 11, 12 with documents 7 8, 8, 9. Anchors: 7 and 8 of the first, 9 and an empty slot of the third."""
    queries, known = torch.tensor([10, 11, 12]), torch.tensor([[7, 8], [8, NONE], [9, NONE]])
    positive, ignore = reverse_masks(torch.tensor([7, 8, 9, NONE]), torch.tensor([0, 0, 2, 2]), queries, known)
    assert positive.tolist() == [[True, False, False], [True, False, False], [False, False, True], [False] * 3]
    assert ignore[:3].tolist() == [[False, False, False], [False, True, False], [False, False, False]]


def test_a_query_with_the_text_of_the_document_or_of_its_owner_is_no_negative_of_it():
    """Query rows 1 and 2 read as the document (text 7) and as the owner (text 10)."""
    queries, known = torch.tensor([10, 7, 10, 11]), torch.tensor([[7], [1], [2], [3]])
    positive, ignore = reverse_masks(torch.tensor([7]), torch.tensor([0]), queries, known)
    assert positive.tolist() == [[True, False, False, False]]
    assert ignore.tolist() == [[False, True, True, False]]


@pytest.mark.parametrize("first_row", [0, 4])
def test_reverse_masks_equal_the_naive_loop_on_every_process(generator, first_row):
    ids, known = random_queries(generator, 9)
    owners = (first_row + torch.arange(4)).repeat_interleave(2)
    documents = known[owners, torch.arange(8) % 2]
    positive, ignore = reverse_masks(documents, owners, ids, known)
    for anchor, (document, owner) in enumerate(zip(documents.tolist(), owners.tolist(), strict=True)):
        for row, (query, answers) in enumerate(zip(ids.tolist(), known.tolist(), strict=True)):
            assert positive[anchor, row] == (row == owner and document != NONE)
            if document != NONE:
                related = document in texts(query, answers) or query in (NONE, ids[owner])
                assert ignore[anchor, row] == (related and row != owner)


@pytest.mark.parametrize(
    "arguments",
    [([1, 2], [[1]], [1, 2], [[1], [2]], 0), ([1], [[1]], [1, 2], [1, 2], 0), ([1], [[1]], [1, 2], [[1], [2]], 2)],
    ids=["known positives of one", "known positives as a list", "beyond the end"],
)
def test_queries_that_do_not_fit_together_are_refused(arguments):
    *ids, first_row = arguments
    with pytest.raises(ValueError, match=r"expected query ids|do not fit"):
        query_masks(*map(torch.tensor, ids), first_row=first_row)


def test_documents_without_an_owner_each_are_refused():
    with pytest.raises(ValueError, match="one owner"):
        reverse_masks(torch.tensor([1, 2]), torch.tensor([0]), torch.tensor([1]), torch.tensor([[1]]))
