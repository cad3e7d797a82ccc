"""The unified record: sound ones go to JSON and back, every other is an error that names id, source and field."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.schema import TrainingExample

SHARED = {"id": "7", "source": "mine", "instruction": "find it"}
IR = {**SHARED, "task": "ir", "query": "q", "positives": ["p", "r"], "negatives": ["n"], "scores": []}
STS = {**SHARED, "task": "sts", "query": "a", "positives": ["b"], "negatives": [], "scores": [0.25]}


@pytest.mark.parametrize("row", [IR, STS])
def test_a_record_survives_json(row: dict[str, Any]) -> None:
    example = TrainingExample.from_dict(json.loads(json.dumps(row)))
    assert example.to_dict() == row
    assert TrainingExample.from_dict(example.to_dict()) == example


def test_lists_become_tuples_so_a_record_can_be_hashed_and_not_changed() -> None:
    example = TrainingExample.from_dict(IR)
    assert example.positives == ("p", "r")
    assert len({example, TrainingExample.from_dict(IR)}) == 1
    with pytest.raises(FrozenInstanceError):
        example.query = "other"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"task": "qa"}, "task: expected 'ir' or 'sts', found 'qa'"),
        ({"query": " "}, "query: expected non-empty text"),
        ({"query": 5}, "query: expected non-empty text, found"),
        ({"positives": []}, "positives: expected at least one relevant document, found none"),
        ({"positives": "text"}, "positives: expected a list, found str"),
        ({"positives": ["p", ""]}, "positives: expected non-empty text"),
        ({"negatives": [None]}, "negatives: expected non-empty text"),
        ({"scores": [0.5]}, "scores: expected none for an ir example"),
    ],
)
def test_a_bad_ir_example_names_its_field(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        TrainingExample.from_dict(IR | changes)
    assert str(caught.value).startswith(f"example '7' of source 'mine': {expected}")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"positives": ["b", "c"]}, "expected one other text and no negatives for an sts pair, found 2 positives"),
        ({"negatives": ["c"]}, "expected one other text and no negatives for an sts pair, found 1 positives and 1"),
        ({"scores": []}, "scores: expected one gold value in [0, 1], found ()"),
        ({"scores": [0.1, 0.2]}, "scores: expected one gold value in [0, 1]"),
        ({"scores": [1.01]}, "scores: expected one gold value in [0, 1], found (1.01,)"),
        ({"scores": [-0.01]}, "scores: expected one gold value in [0, 1]"),
        ({"scores": [float("nan")]}, "scores: expected one gold value in [0, 1], found (nan,)"),
    ],
)
def test_a_bad_sts_pair_names_its_field(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        TrainingExample.from_dict(STS | changes)
    assert str(caught.value).startswith(f"example '7' of source 'mine': {expected}")


@pytest.mark.parametrize("gold", [0.0, 1.0])
def test_gold_may_stand_at_either_end(gold: float) -> None:
    assert TrainingExample.from_dict(STS | {"scores": [gold]}).scores == (gold,)


def test_an_unknown_field_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"example '7': unknown field 'postives' \(did you mean 'positives'\?\)"):
        TrainingExample.from_dict(IR | {"postives": []})


@pytest.mark.parametrize("field", list(IR))
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(InputError, match=f"field '{field}' is missing"):
        TrainingExample.from_dict({name: value for name, value in IR.items() if name != field})


@pytest.mark.parametrize("scores", [["high"], [None], ["0.5"]])
def test_a_score_that_is_no_number_is_named(scores: list) -> None:
    with pytest.raises(InputError, match="scores: expected one gold value"):
        TrainingExample.from_dict(STS | {"scores": scores})
