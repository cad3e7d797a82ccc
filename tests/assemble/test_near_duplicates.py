"""Near duplicates: n-grams, thresholds and light edits by hand, and what the index finds of planted ones."""

import math

import numpy as np
import pytest
from audit_texts import EXACT_EDITS, NEAR_EDITS, Language, audit_params

from codiemb_pipeline.assemble.near_duplicates import TextIndex, bands_for, jaccards, lightly_edited, shape_of
from codiemb_pipeline.errors import InputError

# Numbers of words: Chinese queries of some 10 characters (6 words of 1.9), sentences, passages; the same in English.
LENGTHS = {"zh": (5, 6, 8, 16, 80), "en": (5, 6, 8, 16, 80)}
TEXTS = 60


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
def test_grams_are_short_among_syllables_and_long_elsewhere(text, grams):
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
def test_short_texts_and_single_words_are_compared_for_equality_alone(text):
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
def test_a_light_edit_changes_a_few_characters_or_one_word(text, other, expected):
    assert lightly_edited(shape(text), shape(other), audit_params()) is expected
    assert lightly_edited(shape(other), shape(text), audit_params()) is expected


def test_similarities_are_those_of_plain_sets():
    random = np.random.default_rng(0)
    sets = [np.unique(random.integers(0, 30, size)).astype(np.uint64) for size in (1, 5, 20, 40, 3, 30)]
    expected = [len({*sets[2]} & {*other}) / len({*sets[2]} | {*other}) for other in sets]
    assert jaccards(sets[2], sets).tolist() == pytest.approx(expected)
    assert jaccards(sets[2], sets)[2] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"threshold": {"lowest": 0.8, "highest": 0.7, "characters": 2, "word_syllables": 3}},
            r"assemble\.audit\.threshold: .*0\.8 and 0\.7",
        ),
        ({"mode": "delete"}, r"assemble\.audit\.mode: .*'report', 'drop', 'fail' or 'off'.*'delete'"),
    ],
)
def test_parameters_of_the_audit_that_make_no_sense_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        audit_params(**change)


@pytest.fixture(scope="module")
def planted() -> tuple[TextIndex, dict[str, Language], dict[tuple[str, int], list[list[str]]]]:
    """An index of 60 texts of each language and length."""
    languages = {kind: Language(kind, 0) for kind in LENGTHS}
    index, texts = TextIndex(audit_params()), {}
    for kind, lengths in LENGTHS.items():
        for length in lengths:
            texts[kind, length] = [languages[kind].words_of(length) for _ in range(TEXTS)]
            for words in texts[kind, length]:
                index.add(languages[kind].space.join(words))
    return index, languages, texts


@pytest.mark.parametrize("edit", EXACT_EDITS)
def test_all_texts_that_differ_in_form_alone_are_found_as_equal(planted, edit):
    index, languages, texts = planted
    for (kind, _), originals in texts.items():
        for words in originals:
            row = index.add(languages[kind].space.join(words))
            first = index.find(languages[kind].edited(words, edit))[0]
            assert (first.row, first.estimate, first.similarity) == (row, None, 1.0)


@pytest.mark.parametrize("edit", NEAR_EDITS)
@pytest.mark.parametrize("kind", LENGTHS)
def test_at_least_95_percent_of_light_edits_are_found_at_every_length(planted, kind, edit):
    index, languages, texts = planted
    shares = {}
    for length in LENGTHS[kind]:
        found = 0
        for words in texts[kind, length]:
            row = index.add(languages[kind].space.join(words))
            matches = index.find(languages[kind].edited(words, edit))
            found += row in {match.row for match in matches}
        shares[length] = found / TEXTS
    assert min(shares.values()) >= 0.95, shares


@pytest.mark.parametrize("kind", LENGTHS)
def test_nothing_is_found_of_another_language(planted, kind):
    index, other = planted[0], Language(kind, 1)
    for length in LENGTHS[kind]:
        for _ in range(TEXTS):
            assert index.find(other.space.join(other.words_of(length))) == ()


@pytest.mark.parametrize("kind", LENGTHS)
def test_hardly_anything_is_found_of_other_texts_of_the_same_language(planted, kind):
    """By chance alone two short texts of common words may differ in one word."""
    index, languages, _ = planted
    found = [
        bool(index.find(languages[kind].space.join(languages[kind].words_of(length))))
        for length in LENGTHS[kind]
        for _ in range(TEXTS)
    ]
    assert sum(found) <= 1


def test_the_most_similar_comes_first_and_estimates_are_near_the_truth(planted):
    index = TextIndex(audit_params())
    rows = [index.add(text) for text in ("怎么样办理银行信用卡", "怎么样办理网上信用卡", "怎么样办理银行信用卡吗")]
    matches = index.find("怎么样办理银行信用卡！")
    assert [match.row for match in matches] == [rows[0], rows[2], rows[1]]
    assert [match.estimate is None for match in matches] == [True, False, False]
    # 10 characters, 19 n-grams: one more character brings 2 more; two others change 2 * 2 + 1.
    assert matches[1].similarity == pytest.approx(19 / 21)
    assert matches[2].similarity == pytest.approx(14 / 24)
    for match in matches[1:]:
        assert match.estimate == pytest.approx(match.similarity, abs=0.15)


def test_an_equal_text_added_again_is_the_same_row():
    index = TextIndex(audit_params())
    assert [index.add(text) for text in ("A cat.", "a dog", "ａ ＣＡＴ")] == [0, 1, 0]
    assert len(index) == 2


def test_a_text_added_after_a_search_is_found():
    index = TextIndex(audit_params())
    assert index.find("a cat") == ()
    index.add("A cat")
    assert [match.row for match in index.find("a cat")] == [0]


def test_an_empty_index_finds_nothing():
    assert TextIndex(audit_params()).find("怎么样办理银行信用卡") == ()


@pytest.mark.parametrize("similarity", [0.2, 0.33, 0.5, 0.7, 0.9])
def test_bands_reach_the_recall_within_the_permutations(similarity):
    bands, width = bands_for(similarity, 0.95, 256)
    assert bands * width <= 256
    assert 1 - (1 - similarity**width) ** bands >= 0.95
    wider = math.ceil(math.log(0.05) / math.log(1 - similarity ** (width + 1)))
    assert width == 16 or wider * (width + 1) > 256


def test_without_permutations_enough_all_are_used():
    assert bands_for(0.05, 0.99, 16) == (16, 1)


def test_a_text_of_the_same_words_in_another_order_is_found_only_if_it_is_very_similar():
    """9 characters, 17 n-grams. Halves swapped, one pair is lost and one new: 16 of 18. Thirds turned round: 15 of 19.
    With two characters left out as well, 7 and 4 pairs are in both: 11 of 17 + 13 - 11, enough for the length (0.33)
    but less than 0.7, and no light edit.
    """
    index = TextIndex(audit_params())
    index.add("甲乙丙丁戊己庚辛壬")
    assert [match.similarity for match in index.find("己庚辛壬甲乙丙丁戊")] == [pytest.approx(16 / 18)]
    assert [match.similarity for match in index.find("庚辛壬丁戊己甲乙丙")] == [pytest.approx(15 / 19)]
    assert index.find("庚辛丁戊己甲乙") == ()
