"""N-grams, thresholds and light edits, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from audit_texts import audit_params

from codiemb_pipeline.assemble.light_edits import jaccards, lightly_edited, shape_of
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.assemble import AuditParams


def shape(text: str):
    return shape_of(text, audit_params())


def grams_of(text: str) -> set[str]:
    """Unpack the numbers: 21 bits a character, the first one highest."""
    found = set()
    for number in shape(text).grams.tolist():
        letters = [number >> 42, number >> 21 & 0x1FFFFF, number & 0x1FFFFF]
        found.add("".join(chr(letter) for letter in letters if letter))
    return found


@pytest.mark.parametrize(
    ("text", "grams"),
    [
        ("信用卡", {"信", "用", "卡", "信用", "用卡"}),
        ("Ab, c D!", {"abc", "bcd"}),
        ("ＡＢＣ", {"abc"}),
        ("a手机", {"手", "机", "手机", "a手机"}),
        ("手机ab", {"手", "机", "手机", "机ab"}),
        ("ab", set()),
        ("?", set()),
        ("", set()),
    ],
)
def test_grams_are_short_among_syllables_and_long_elsewhere(text: str, grams: set[str]):
    assert grams_of(text) == grams
    assert shape(text).grams.tolist() == sorted(shape(text).grams.tolist())


def test_the_threshold_is_what_the_heaviest_light_edit_leaves():
    """12 Han characters: 23 n-grams; two apart are in 6 of them, a word of three in 3 + 4 = 7: (23 - 7) / (23 + 7)."""
    assert shape("甲乙丙丁戊己庚辛壬癸子丑").threshold == pytest.approx(16 / 30)


def test_a_long_word_counts_with_all_its_letters():
    """32 letters, 30 trigrams of which "international" is part of 13 + 2: (30 - 15) / (30 + 15)."""
    text = "what does the international do as such"
    assert len(shape(text).grams) == 30
    assert shape(text).threshold == pytest.approx((30 - 15) / (30 + 15))


def test_no_threshold_leaves_the_range_of_the_parameters():
    assert shape("甲乙丙丁戊").threshold == 0.33
    assert shape("".join(chr(0x4E00 + place) for place in range(500))).threshold == 0.7


@pytest.mark.parametrize("text", ["甲乙丙丁", "", "。", "internationalisation", "a cat", "Linked Data"])
def test_short_texts_and_single_words_are_compared_for_equality_alone(text: str):
    assert shape(text).threshold is None


@pytest.mark.parametrize(
    ("text", "other", "expected"),
    [
        ("怎么办理信用卡", "怎么办理信用卡啊", True),
        ("怎么办理信用卡", "怎样申理信用卡", True),  # two characters apart
        ("怎么办理信用卡", "怎么申请信用卡", True),
        ("如何在网上办理信用卡", "如何在手机银办理信用卡", True),  # a word of three for one of two
        ("如何在网上办理信用卡", "如何在手机银行办理信用卡", False),  # four
        ("怎么办理信用卡", "信用卡怎么办理", False),
        ("a man plays the guitar", "a man plays the violin", True),
        ("a man plays the guitar", "a man plays guitar", True),
        ("a man plays the guitar", "a wan plays the guitur", True),
        ("a man plays the guitar", "a woman plays the violin", False),
        ("neural networks", "social networks", False),  # a word is half of the text
        ("deep neural networks", "deep social networks", True),
        ("买iPhone手机", "买Android手机", True),
    ],
)
def test_a_light_edit_changes_a_few_characters_or_one_word(text: str, other: str, expected: bool):
    assert lightly_edited(shape(text), shape(other), audit_params()) is expected
    assert lightly_edited(shape(other), shape(text), audit_params()) is expected


def test_similarities_are_those_of_plain_sets():
    random = np.random.default_rng(0)
    sets = [np.unique(random.integers(0, 30, size)).astype(np.uint64) for size in (1, 5, 20, 40, 3, 30)]
    expected = [len({*sets[2]} & {*other}) / len({*sets[2]} | {*other}) for other in sets]
    assert jaccards(sets[2], sets).tolist() == pytest.approx(expected)
    assert jaccards(sets[2], sets)[2] == 1


def test_thresholds_in_the_wrong_order_are_refused():
    threshold = {"lowest": 0.8, "highest": 0.7, "characters": 2, "word_syllables": 3}
    with pytest.raises(InputError, match=r"assemble.audit.threshold: expected lowest below highest, found 0.8 and 0.7"):
        audit_params(threshold=threshold)


def test_an_unknown_mode_is_refused():
    with pytest.raises(InputError, match=r"assemble.audit.mode: .*'report', 'drop', 'fail' or 'off'.*found 'delete'"):
        AuditParams.parse({**audit_params().model_dump(), "mode": "delete"}, "assemble.audit")
