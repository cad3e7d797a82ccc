"""What every loss must satisfy: its value and gradients on degenerate batches, its precision, its refusals."""

import math

import pytest
import torch
from objective_params import info_nce

from codiemb_pipeline.losses.cosent import cosent, cosent_retrieval
from codiemb_pipeline.losses.cosine import cosine_regression
from codiemb_pipeline.losses.operands import NotFiniteError
from codiemb_pipeline.losses.pair_info_nce import pair_info_nce_sum
from codiemb_pipeline.losses.pearson import pearson
from codiemb_pipeline.losses.pro import pro
from codiemb_pipeline.losses.rank_kl import rank_kl

LISTWISE = {
    "pearson": pearson,
    "rank_kl": lambda s, y: rank_kl(s, y, temperature=0.05),
    "pro": lambda s, y: pro(s, y, temperature=0.05),
    "cosent": lambda s, y: cosent(s, y, temperature=0.05),
    "cosine": cosine_regression,
}
PREDICTED = torch.tensor([0.1, -0.3, 0.5, 0.45, 0.2], dtype=torch.float64)
GOLD = torch.tensor([0.0, 0.2, 0.9, 0.4, 0.4], dtype=torch.float64)
BATCHES = {
    "no pair": ([], []),
    "one pair": ([0.3], [0.8]),
    "constant gold": ([0.3, -0.2, 0.5, 0.1], [0.5] * 4),
    "constant predictions": ([0.4] * 4, [0.0, 0.5, 0.5, 1.0]),
    "both constant": ([0.4] * 3, [0.2] * 3),
    "perfect order": ([0.0, 0.5, 1.0], [0.0, 0.5, 1.0]),
}
# RankKL of uniform against uniform is 0; of constant predictions it is log n less the target's entropy, over n.
TARGET = torch.tensor([0.0, 0.5, 0.5, 1.0], dtype=torch.float64).div(0.05).softmax(dim=0)
CONSTANT_RANK_KL = (math.log(4) + (TARGET * TARGET.log()).sum().item()) / 4
# PRO with s constant at 0.4: logits are 8 times the weights; pairs 3, 1 and 2 have tails, by hand as below.
PRO_TOP = math.log(sum(math.exp(8 * (w - 1.0)) for w in (1.0, 1.0, 0.5, 0.5)))
PRO_MIDDLE = math.log(2)
STATED = {
    ("constant predictions", "pearson"): 0.0,
    ("constant predictions", "rank_kl"): CONSTANT_RANK_KL,
    ("constant predictions", "pro"): (PRO_TOP + 2 * PRO_MIDDLE) / 3,
    ("constant predictions", "cosent"): math.log(1 + 5),
    ("constant predictions", "cosine"): (0.16 + 0.01 + 0.01 + 0.36) / 4,
    ("one pair", "cosine"): 0.25,
    ("constant gold", "cosine"): (0.04 + 0.49 + 0.0 + 0.16) / 4,
    ("both constant", "cosine"): 0.04,
    ("perfect order", "pearson"): 0.0,
    ("perfect order", "cosine"): 0.0,
}
ZERO = {"no pair", "one pair", "constant gold", "both constant"}


def pair_wise(queries, candidates, positive):
    """InfoNCE of pairs, of which those with a positive are good ones."""
    total, count = pair_info_nce_sum(
        queries, candidates[: len(queries)], positive.any(dim=1).float(), threshold=0.8, temperature=0.02
    )
    return total / count.clamp(min=1)


def transposed(queries, candidates, positive):
    """The symmetric term: documents against queries."""
    return info_nce(candidates, queries, positive.T.contiguous(), temperature=0.02)


EMBEDDING_WISE = {
    "info_nce": lambda q, c, positive: info_nce(q, c, positive, temperature=0.02),
    "info_nce by slot": lambda q, c, positive: info_nce(
        q, c, positive, temperature=0.02, slots=torch.zeros(len(c), dtype=torch.int64), slot_count=2
    ),
    "symmetric": transposed,
    "pair-wise": pair_wise,
    "cosent_retrieval": lambda q, c, positive: cosent_retrieval(q, c, positive, temperature=0.05),
}
# Queries, candidates and the positive mask; the loss is 0 for all but the constant embeddings.
EMBEDDINGS = {
    "one pair": (torch.ones(1, 3), torch.ones(1, 3), torch.ones(1, 1, dtype=torch.bool)),
    "no positive": (torch.eye(2, 3), torch.eye(4, 3), torch.zeros(2, 4, dtype=torch.bool)),
    "no pair": (torch.ones(0, 3), torch.ones(0, 3), torch.zeros(0, 0, dtype=torch.bool)),
    "no query": (torch.ones(0, 3), torch.eye(2, 3), torch.zeros(0, 2, dtype=torch.bool)),
    "constant embeddings": (torch.full((3, 4), 0.5), torch.full((3, 4), 0.5), torch.eye(3, dtype=torch.bool)),
}


@pytest.mark.parametrize("name", LISTWISE)
@pytest.mark.parametrize("batch", BATCHES)
def test_list_wise_losses(value_and_gradients, name, batch):
    predicted, gold = (torch.tensor(values, dtype=torch.float64) for values in BATCHES[batch])
    value, (gradient,) = value_and_gradients(lambda s: LISTWISE[name](s, gold), predicted)
    assert gradient is not None
    assert gradient.isfinite().all()
    stated = STATED.get((batch, name), 0.0 if batch in ZERO else None)
    # Constant gold makes RankKL's target uniform: a value of its own, not 0, unless the predictions are constant too.
    if (batch, name) == ("constant gold", "rank_kl"):
        log_model = (predicted / 0.05).log_softmax(dim=0)
        stated = (-math.log(4) - log_model.mean().item()) / 4
    assert value.isfinite() if stated is None else value.item() == pytest.approx(stated, abs=1e-12)
    if batch in ZERO and stated == 0:
        assert gradient.tolist() == pytest.approx([0.0] * len(predicted), abs=1e-12)


@pytest.mark.parametrize("name", LISTWISE)
def test_list_wise_losses_have_the_gradient_of_finite_differences(name):
    assert torch.autograd.gradcheck(lambda s: LISTWISE[name](s, GOLD), (PREDICTED.clone().requires_grad_(),))


@pytest.mark.parametrize("name", LISTWISE)
def test_the_order_of_the_pairs_changes_nothing(name):
    order = torch.tensor([2, 0, 4, 3, 1])
    expected = LISTWISE[name](PREDICTED, GOLD).item()
    assert LISTWISE[name](PREDICTED[order], GOLD[order]).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", LISTWISE)
def test_half_precision_gives_a_single_precision_loss(name, dtype):
    predicted, gold = PREDICTED.to(dtype), GOLD.to(dtype)
    loss = LISTWISE[name](predicted, gold)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(LISTWISE[name](predicted.float(), gold.float()).item(), rel=1e-6)


@pytest.mark.parametrize("loss", [rank_kl, pro, cosent])
def test_a_cold_temperature_stays_finite(value_and_gradients, loss):
    gold = torch.linspace(0, 1, 8)
    value, (gradient,) = value_and_gradients(lambda s: loss(s, gold, temperature=1e-4), torch.linspace(1, -1, 8))
    assert value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", LISTWISE)
def test_lists_of_unequal_length_are_refused(name):
    with pytest.raises(ValueError, match=r"\(5,\) and \(2,\)"):
        LISTWISE[name](PREDICTED, GOLD[:2])


@pytest.mark.parametrize("temperature", [0.0, -1.0])
@pytest.mark.parametrize("loss", [rank_kl, pro, cosent])
def test_a_temperature_not_above_zero_is_refused(loss, temperature):
    with pytest.raises(ValueError, match="temperature"):
        loss(PREDICTED, GOLD, temperature=temperature)


@pytest.mark.usefixtures("as_on_an_accelerator")
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("side", [0, 1], ids=["predicted", "gold"])
@pytest.mark.parametrize("name", LISTWISE)
def test_where_values_are_not_read_what_is_not_finite_shows_in_the_loss(name, side, place, bad):
    operands = [torch.tensor([0.3, -0.2, 0.5]), torch.tensor([0.0, 0.5, 1.0])]
    operands[side][place] = bad
    assert not LISTWISE[name](*operands).isfinite()


@pytest.mark.usefixtures("as_on_an_accelerator")
@pytest.mark.parametrize("side", [0, 1], ids=["queries", "candidates"])
@pytest.mark.parametrize(("name", "loss"), EMBEDDING_WISE.items(), ids=EMBEDDING_WISE)
def test_where_values_are_not_read_embeddings_that_are_not_finite_show_in_the_loss(name, loss, side):
    operands = [torch.eye(2, 3), torch.eye(2, 3)]
    operands[side][1, 2] = math.nan
    assert loss(*operands, torch.eye(2, dtype=torch.bool)).isnan()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("side", ["predicted", "gold"])
@pytest.mark.parametrize("name", LISTWISE)
def test_what_is_not_finite_is_an_error_that_names_operand_and_place(name, side, bad):
    operands = {"predicted": torch.rand(3), "gold": torch.rand(3)}
    operands[side][1] = bad
    with pytest.raises(NotFiniteError, match=rf"^{side} must be finite; found (nan|inf) at \[1\] of shape \(3,\)"):
        LISTWISE[name](*operands.values())


@pytest.mark.parametrize("loss", [info_nce, cosent_retrieval])
@pytest.mark.parametrize("side", ["queries", "candidates"])
def test_embeddings_that_are_not_finite_are_an_error(loss, side):
    operands = {"queries": torch.rand(2, 3), "candidates": torch.rand(4, 3)}
    operands[side][1, 2] = math.nan
    with pytest.raises(NotFiniteError, match=rf"^{side} must be finite; found nan at \[1, 2\]"):
        loss(*operands.values(), torch.eye(2, 4, dtype=torch.bool), temperature=0.05)


@pytest.mark.parametrize(("name", "loss"), EMBEDDING_WISE.items(), ids=EMBEDDING_WISE)
@pytest.mark.parametrize("batch", EMBEDDINGS)
def test_losses_of_embeddings(value_and_gradients, batch, name, loss):
    queries, candidates, positive = EMBEDDINGS[batch]
    value, gradients = value_and_gradients(lambda q, c: loss(q, c, positive), queries, candidates)
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    if batch == "constant embeddings":
        # Three positives and six negatives, all of one similarity: log(1 + 2) per query, or log(1 + 3 * 6) for all.
        assert value.item() == pytest.approx(math.log(19) if name == "cosent_retrieval" else math.log(3), rel=1e-6)
    else:
        assert value == 0
        assert [gradient.abs().sum() for gradient in gradients] == [0, 0]


@pytest.mark.parametrize("gold", [[0.1, 0.7], [0.0, 0.0]], ids=["below the threshold", "binary labels, all 0"])
def test_defect_14_no_good_pair_is_a_connected_zero(value_and_gradients, gold):
    """The released code returned ``tensor(0., requires_grad=True)``, from which no parameter has a gradient."""
    value, gradients = value_and_gradients(
        lambda a, b: pair_info_nce_sum(a, b, torch.tensor(gold), threshold=0.8, temperature=0.02)[0],
        torch.rand(2, 3),
        torch.rand(2, 3),
    )
    assert value == 0
    assert [gradient.abs().sum() for gradient in gradients] == [0, 0]


def test_gold_of_the_pair_wise_part_that_is_not_finite_is_an_error():
    with pytest.raises(NotFiniteError, match="gold"):
        pair_info_nce_sum(torch.ones(1, 2), torch.ones(1, 2), torch.tensor([math.nan]), threshold=0.8, temperature=0.02)
