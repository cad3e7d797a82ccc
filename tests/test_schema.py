"""The unified record: every unsound one is an error that names id, source and field."""

from dataclasses import FrozenInstanceError

import pytest

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.schema import TrainingExample

SHARED = {"id": "7", "source": "mine"}
IR = {**SHARED, "task": "ir", "query": "q", "positives": ("p", "r"), "negatives": ("n",), "scores": ()}
STS = {**SHARED, "task": "sts", "query": "a", "positives": ("b",), "negatives": (), "scores": (0.25,)}


def test_a_record_can_be_hashed_and_not_changed():
    example = TrainingExample(**IR)
    with pytest.raises(FrozenInstanceError):
        example.query = "other"
    assert len({example, TrainingExample(**IR)}) == 1


@pytest.mark.parametrize(
    ("row", "changes", "expected"),
    [
        (IR, {"task": "qa"}, "task: expected 'ir' or 'sts', found 'qa'"),
        (IR, {"query": " "}, "query: expected non-empty text"),
        (IR, {"query": 5}, "query: expected non-empty text, found"),
        (IR, {"positives": ()}, "positives: expected at least one relevant document, found none"),
        (IR, {"positives": "text"}, "positives: expected a tuple, found str"),
        (IR, {"positives": ("p", "")}, "positives: expected non-empty text"),
        (IR, {"negatives": (None,)}, "negatives: expected non-empty text"),
        (IR, {"scores": (0.5,)}, "scores: expected none for an ir example"),
        (STS, {"positives": ("b", "c")}, "expected one other text and no negatives for an sts pair, found 2 positives"),
        (STS, {"negatives": ("c",)}, "expected one other text and no negatives for an sts pair, found 1 positives and"),
        (STS, {"scores": ()}, "scores: expected one gold value in [0, 1], found ()"),
        (STS, {"scores": (0.1, 0.2)}, "scores: expected one gold value in [0, 1]"),
        (STS, {"scores": (1.01,)}, "scores: expected one gold value in [0, 1], found (1.01,)"),
        (STS, {"scores": (-0.01,)}, "scores: expected one gold value in [0, 1]"),
        (STS, {"scores": (float("nan"),)}, "scores: expected one gold value in [0, 1], found (nan,)"),
        (STS, {"scores": ("high",)}, "scores: expected one gold value in [0, 1]"),
    ],
)
def test_an_unsound_record_names_its_field(row, changes, expected):
    with pytest.raises(InputError) as caught:
        TrainingExample(**row | changes)
    assert str(caught.value).startswith(f"example '7' of source 'mine': {expected}")


@pytest.mark.parametrize("gold", [0.0, 1.0])
def test_gold_may_stand_at_either_end(gold):
    assert TrainingExample(**STS | {"scores": (gold,)}).scores == (gold,)
