"""Numbers by text in little memory, against a dict."""

from __future__ import annotations

import random

import pytest

from codiemb_pipeline.ingest import digests
from codiemb_pipeline.ingest.digests import NumberByText, digest_of


@pytest.mark.parametrize("places", [2, 16, 2**16])
def test_it_answers_as_a_dict_does_while_it_grows(places: int) -> None:
    random.seed(1)
    expected: dict[str, int] = {}
    found = NumberByText(places)
    for number in range(3000):
        text = f"text {random.randrange(1500)}"
        assert found.get(text) == expected.get(text)
        assert found.setdefault(text, number) == expected.setdefault(text, number)
    assert len(found) == len(expected)
    assert {text: found.get(text) for text in expected} == expected
    assert found.get("another") is None


def test_texts_whose_digests_begin_alike_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """All land on one place; only the second halves of their digests differ."""
    monkeypatch.setattr(digests, "digest_of", lambda text: bytes(8) + digest_of(text)[8:])
    found = NumberByText(64)
    assert [found.setdefault(str(n), n) for n in range(20)] == list(range(20))
    assert [found.get(str(n)) for n in range(21)] == [*range(20), None]


def test_a_place_costs_twenty_bytes_and_three_in_five_are_taken_at_most() -> None:
    found = NumberByText(1024)
    for number in range(614):
        found.setdefault(str(number), number)
    arrays = (found._highs, found._lows, found._numbers)
    assert sum(part.itemsize * len(part) for part in arrays) == 20 * 1024
    found.setdefault("one more", 614)
    assert len(found._numbers) == 2048
