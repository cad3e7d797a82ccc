"""Values and gradients of the authors' own code on fixed inputs, reproduced (see "about" in the file)."""

import json
from pathlib import Path

import pytest
import torch
from objective_params import info_nce

from codiemb_pipeline.losses.pair_info_nce import pair_info_nce_sum
from codiemb_pipeline.losses.pearson import pearson
from codiemb_pipeline.losses.pro import pro
from codiemb_pipeline.losses.rank_kl import rank_kl

CASES = json.loads((Path(__file__).parents[1] / "golden" / "published_losses.json").read_text("utf-8"))["cases"]
STS = [pytest.param(case, id=case["name"]) for case in CASES if case["kind"] == "sts"]
IR = [pytest.param(case, id=f"T{case['temperature']}") for case in CASES if case["kind"] == "ir"]
MID_LAYER = [case for case in CASES if case["kind"] == "sts_mid_info_nce"]


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def assert_published(found, expected, tolerance=1e-9):
    torch.testing.assert_close(found, double(expected), rtol=tolerance, atol=1e-11)


def test_the_file_holds_the_cases_that_are_tested():
    assert (len(STS), len(IR), len(MID_LAYER), len(CASES)) == (4, 2, 1, 7)


@pytest.mark.parametrize("case", STS)
@pytest.mark.parametrize(
    ("key", "loss", "tolerance"),
    [
        ("pearson", pearson, 1e-9),
        ("rank_kl_T0.05", lambda s, y: rank_kl(s, y, temperature=0.05), 1e-5),
        ("pro_T0.05", lambda s, y: pro(s, y, temperature=0.05), 1e-9),
    ],
    ids=["pearson", "rank_kl", "pro"],
)
def test_list_wise_losses_are_the_published_ones(value_and_gradients, case, key, loss, tolerance):
    gold = double(case["gold"])
    value, (gradient,) = value_and_gradients(lambda s: loss(s, gold), double(case["predicted"]))
    assert_published(value, case[key]["loss"], tolerance)
    assert_published(gradient, case[key]["grad_predicted"], tolerance)


@pytest.mark.parametrize("case", IR)
def test_info_nce_slot_by_slot_is_the_published_one(value_and_gradients, case):
    shown, hard = case["positives_per_query"], case["hard_negatives_per_query"]
    width, queries = shown + hard, len(case["queries"])
    place = torch.arange(queries * width) % width
    own = torch.arange(queries * width) // width == torch.arange(queries)[:, None]
    value, gradients = value_and_gradients(
        lambda q, d: info_nce(
            q,
            d,
            own & (place < shown),
            temperature=case["temperature"],
            slots=torch.where(place < shown, place, -1),
            slot_count=shown,
        ),
        double(case["queries"]),
        double(case["documents"]),
    )
    assert_published(value, case["info_nce"]["loss"])
    assert_published(gradients[0], case["info_nce"]["grad_queries"])
    assert_published(gradients[1], case["info_nce"]["grad_documents"])


@pytest.mark.parametrize("case", MID_LAYER, ids=["mid-layer"])
def test_mid_layer_info_nce_is_the_published_one(value_and_gradients, case):
    def mean(a, b):
        total, count = pair_info_nce_sum(
            a, b, double(case["gold"]), threshold=case["threshold"], temperature=case["temperature"]
        )
        return total / count

    value, gradients = value_and_gradients(mean, double(case["queries"]), double(case["documents"]))
    assert_published(value, case["info_nce"]["loss"])
    assert_published(gradients[0], case["info_nce"]["grad_queries"])
    assert_published(gradients[1], case["info_nce"]["grad_documents"])
