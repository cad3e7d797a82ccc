import math

import pytest
import torch
from objective_params import info_nce
from torch.nn.functional import cross_entropy, normalize

from codiemb_pipeline.losses.info_nce import info_nce_sum

EAST, NORTH, WEST = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]


def log1p_exp(x):
    return math.log(1 + math.exp(x))


def naive(queries, candidates, positive_mask, ignore_mask, temperature, slots=None):
    per_query = []
    for i, query in enumerate(queries):
        losses = []
        for p in positive_mask[i].nonzero().flatten().tolist():
            rivals = [
                n
                for n in range(len(candidates))
                if not positive_mask[i, n]
                and not ignore_mask[i, n]
                and (slots is None or slots[n] in (-1, int(slots[p])))
            ]
            logits = torch.stack([query @ candidates[n] / temperature for n in [p, *rivals]])
            losses.append(logits.logsumexp(dim=0) - logits[0])
        if losses:
            per_query.append(sum(losses) / len(losses))
    return sum(per_query) / len(per_query)


def random_problem(generator, queries=5, candidates=12, width=4):
    q = normalize(torch.randn(queries, width, generator=generator, dtype=torch.float64), dim=1)
    c = normalize(torch.randn(candidates, width, generator=generator, dtype=torch.float64), dim=1)
    positive = torch.rand(queries, candidates, generator=generator) < 0.25
    ignore = torch.rand(queries, candidates, generator=generator) < 0.25
    positive[0] = False  # a query without positives, and one with all candidates as positives
    positive[1] = True
    return q, c, positive, ignore


def test_one_positive_against_one_negative_by_hand():
    """Similarities 1 and 0 at T = 0.5: logits 2 and 0, so log(1 + e^-2)."""
    loss = info_nce(torch.tensor([EAST]), torch.tensor([EAST, NORTH]), torch.tensor([[True, False]]), temperature=0.5)
    assert loss.item() == pytest.approx(log1p_exp(-2), rel=1e-6)


def test_positives_of_a_query_are_not_set_against_each_other():
    """Positives with similarity 1 and 0, a negative with -1, T = 1: log(1 + e^-2) and log(1 + e^-1), averaged."""
    loss = info_nce(
        torch.tensor([EAST]), torch.tensor([EAST, NORTH, WEST]), torch.tensor([[True, True, False]]), temperature=1.0
    )
    assert loss.item() == pytest.approx((log1p_exp(-2) + log1p_exp(-1)) / 2, rel=1e-6)


def test_ignored_candidates_are_in_no_denominator_and_get_no_gradient(value_and_gradients):
    positive, ignore = torch.tensor([[True, False, False]]), torch.tensor([[False, True, False]])
    value, (_, by_candidates) = value_and_gradients(
        lambda q, c: info_nce(q, c, positive, ignore, temperature=1.0),
        torch.tensor([EAST]),
        torch.tensor([EAST, EAST, NORTH]),
    )
    assert value.item() == pytest.approx(log1p_exp(-1), rel=1e-6)
    assert by_candidates[1].tolist() == [0, 0]
    assert by_candidates[2, 0] > 0


def test_a_positive_that_is_also_ignored_stays_a_positive():
    mask = torch.tensor([[True, False]])
    operands = torch.tensor([EAST]), torch.tensor([EAST, NORTH]), mask
    assert info_nce(*operands, mask, temperature=1.0) == info_nce(*operands, temperature=1.0)


def test_queries_weigh_the_same_however_many_positives_they_have():
    """Query 0: two positives, log(1 + e^-1) each; query 1: one, log(1 + e^1). Queries are what is averaged."""
    loss = info_nce(
        torch.tensor([EAST, EAST]),
        torch.tensor([EAST, EAST, NORTH]),
        torch.tensor([[True, True, False], [False, False, True]]),
        torch.tensor([[False] * 3, [True, False, False]]),
        temperature=1.0,
    )
    assert loss.item() == pytest.approx((log1p_exp(-1) + log1p_exp(1)) / 2, rel=1e-6)


def test_a_query_without_positives_is_not_counted(value_and_gradients):
    positive = torch.tensor([[True, False], [False, False]])
    value, (by_queries, _) = value_and_gradients(
        lambda q, c: info_nce(q, c, positive, temperature=1.0), torch.tensor([EAST, WEST]), torch.tensor([EAST, NORTH])
    )
    assert value.item() == pytest.approx(log1p_exp(-1), rel=1e-6)
    assert by_queries[1].tolist() == [0, 0]


def test_sum_and_count_let_the_caller_divide_by_more_queries_than_these():
    positive = torch.tensor([[True, False], [False, False], [False, True]])
    total, count = info_nce_sum(
        torch.tensor([EAST, WEST, EAST]), torch.tensor([EAST, NORTH]), positive, temperature=1.0
    )
    assert total.item() == pytest.approx(log1p_exp(-1) + log1p_exp(1), rel=1e-6)
    assert count == 2
    assert count.dtype == total.dtype
    assert not count.requires_grad


def test_two_halves_of_the_queries_add_up_to_the_whole(generator, value_and_gradients):
    """What cross-device negatives rely on: own queries, all candidates, sums divided by the global count."""
    q, c, positive, ignore = random_problem(generator, queries=6)

    def in_halves(queries, candidates):
        sums, counts = zip(
            *(
                info_nce_sum(queries[half], candidates, positive[half], ignore[half], temperature=0.1)
                for half in (slice(0, 2), slice(2, 6))
            ),
            strict=True,
        )
        return sum(sums) / sum(counts)

    expected = value_and_gradients(lambda a, b: info_nce(a, b, positive, ignore, temperature=0.1), q, c)
    torch.testing.assert_close(value_and_gradients(in_halves, q, c), expected, rtol=1e-10, atol=1e-12)


def test_one_positive_per_query_is_the_usual_cross_entropy(generator):
    q = normalize(torch.randn(6, 4, generator=generator, dtype=torch.float64), dim=1)
    c = normalize(torch.randn(6, 4, generator=generator, dtype=torch.float64), dim=1)
    loss = info_nce(q, c, torch.eye(6, dtype=torch.bool), temperature=0.02)
    assert loss.item() == pytest.approx(cross_entropy(q @ c.T / 0.02, torch.arange(6)).item(), rel=1e-10)


def test_positives_of_another_slot_are_not_met_and_hard_negatives_are(value_and_gradients):
    """Candidates: own positive in slot 0, another query's in slot 0, in slot 1, a hard negative. T = 1, logits
    1 | 0, (-1 not met), 0: log(1 + 2 e^-1).
    """
    positive = torch.tensor([[True, False, False, False]])
    value, (_, by_candidates) = value_and_gradients(
        lambda q, c: info_nce(q, c, positive, temperature=1.0, slots=torch.tensor([0, 0, 1, -1]), slot_count=2),
        torch.tensor([EAST]),
        torch.tensor([EAST, NORTH, WEST, NORTH]),
    )
    assert value.item() == pytest.approx(math.log(1 + 2 * math.exp(-1)), rel=1e-6)
    assert by_candidates[2].tolist() == [0, 0]


@pytest.mark.parametrize("slotted", [False, True])
@pytest.mark.parametrize(("queries", "candidates"), [(2, 3), (5, 12), (9, 40)])
def test_it_equals_the_naive_loop(generator, value_and_gradients, queries, candidates, slotted):
    q, c, positive, ignore = random_problem(generator, queries, candidates)
    slots = torch.randint(-1, 3, (candidates,), generator=generator) if slotted else None
    if slotted:
        positive &= slots >= 0
        positive[1, 0], slots[0] = True, 2
        ignore[:, 0] = True
    value, gradients = value_and_gradients(
        lambda a, b: info_nce(a, b, positive, ignore, temperature=0.1, slots=slots, slot_count=3), q, c
    )
    expected, expected_gradients = value_and_gradients(lambda a, b: naive(a, b, positive, ignore, 0.1, slots), q, c)
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-10, atol=1e-12)


def test_the_gradient_is_that_of_finite_differences(generator):
    q, c, positive, ignore = random_problem(generator)
    assert torch.autograd.gradcheck(
        lambda a, b: info_nce(a, b, positive, ignore, temperature=0.5), (q.requires_grad_(), c.requires_grad_())
    )


def test_the_order_of_queries_and_candidates_changes_nothing(generator):
    q, c, positive, ignore = random_problem(generator)
    rows, columns = torch.randperm(5, generator=generator), torch.randperm(12, generator=generator)
    expected = info_nce(q, c, positive, ignore, temperature=0.1).item()
    shuffled = info_nce(
        q[rows], c[columns], positive[rows][:, columns], ignore[rows][:, columns], temperature=0.1
    ).item()
    assert shuffled == pytest.approx(expected, rel=1e-10)


def test_no_positive_at_all_costs_nothing_and_stays_connected(value_and_gradients):
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    value, gradients = value_and_gradients(
        lambda q, c: info_nce(q, c, nothing, temperature=0.02), torch.tensor([EAST, WEST]), torch.ones(3, 2)
    )
    assert value == 0
    assert [gradient.abs().sum() for gradient in gradients] == [0, 0]


@pytest.mark.parametrize("ignored", [False, True], ids=["all are positives", "the others are ignored"])
def test_a_positive_without_negatives_costs_nothing(value_and_gradients, ignored):
    positive = torch.tensor([[True, not ignored]])
    with torch.autograd.set_detect_anomaly(True):
        value, gradients = value_and_gradients(
            lambda q, c: info_nce(q, c, positive, ~positive, temperature=0.02),
            torch.tensor([WEST]),
            torch.tensor([EAST, NORTH]),
        )
    assert value == 0
    assert [gradient.abs().sum() for gradient in gradients] == [0, 0]


@pytest.mark.parametrize(("queries", "candidates"), [(0, 3), (2, 0)], ids=["no query", "no candidate"])
def test_empty_sides_cost_nothing_and_stay_connected(value_and_gradients, queries, candidates):
    mask = torch.zeros(queries, candidates, dtype=torch.bool)
    value, gradients = value_and_gradients(
        lambda q, c: info_nce(q, c, mask, temperature=0.02), torch.ones(queries, 2), torch.ones(candidates, 2)
    )
    assert value == 0
    assert [gradient.shape for gradient in gradients] == [(queries, 2), (candidates, 2)]


def test_extreme_logits_stay_exact_in_single_precision(value_and_gradients):
    """At T = 1e-3 the positive lies 2000 below the negative: the loss is 2000, of which exp knows nothing."""
    positive = torch.tensor([[True, False]])
    value, gradients = value_and_gradients(
        lambda q, c: info_nce(q, c, positive, temperature=1e-3), torch.tensor([EAST]), torch.tensor([WEST, EAST])
    )
    assert value.item() == pytest.approx(2000, rel=1e-6)
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_a_single_precision_loss(generator, dtype):
    q, c, positive, ignore = random_problem(generator)
    q, c = q.to(dtype), c.to(dtype)
    loss = info_nce(q, c, positive, ignore, temperature=0.02)
    assert loss.dtype == torch.float32
    assert loss == info_nce(q.float(), c.float(), positive, ignore, temperature=0.02)


def test_autocast_does_not_lower_the_precision(generator):
    q, c, positive, ignore = random_problem(generator)
    q, c = q.float(), c.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (q @ c.T).dtype == torch.bfloat16
        loss = info_nce(q, c, positive, ignore, temperature=0.02)
    assert loss == info_nce(q, c, positive, ignore, temperature=0.02)


@pytest.mark.usefixtures("as_on_an_accelerator")
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("side", [0, 1], ids=["queries", "candidates"])
def test_where_values_are_not_read_an_operand_that_is_not_finite_shows_in_the_loss(generator, bad, side):
    *embeddings, positive, ignore = random_problem(generator)
    embeddings[side][0, 0] = bad
    assert not info_nce(*embeddings, positive, ignore, temperature=0.02).isfinite()


@pytest.mark.parametrize(
    ("queries", "candidates", "mask"),
    [
        (torch.ones(2, 3), torch.ones(4, 2), torch.zeros(2, 4, dtype=torch.bool)),
        (torch.ones(3), torch.ones(4, 3), torch.zeros(1, 4, dtype=torch.bool)),
        (torch.ones(2, 3), torch.ones(4, 3), torch.zeros(4, 2, dtype=torch.bool)),
        (torch.ones(2, 3), torch.ones(4, 3), torch.zeros(2, 4)),
    ],
    ids=["widths differ", "one query as a vector", "mask the other way round", "mask of numbers"],
)
def test_what_does_not_fit_together_is_refused(queries, candidates, mask):
    with pytest.raises(ValueError, match="found"):
        info_nce(queries, candidates, mask, temperature=0.02)


def test_an_ignore_mask_that_would_broadcast_is_refused():
    positive = torch.zeros(2, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"\(1, 4\)"):
        info_nce(torch.ones(2, 3), torch.ones(4, 3), positive, positive[:1], temperature=0.02)


def test_wrong_slots_and_temperatures_are_refused():
    operands = torch.ones(2, 3), torch.ones(4, 3), torch.zeros(2, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="slots"):
        info_nce(*operands, temperature=0.02, slots=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="temperature"):
        info_nce(*operands, temperature=0.0)
