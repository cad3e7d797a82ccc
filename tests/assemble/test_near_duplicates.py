"""What the index finds of planted near duplicates, by language, length and edit, and that it finds nothing else."""

from __future__ import annotations

import math

import pytest
from audit_texts import EXACT_EDITS, NEAR_EDITS, Language, audit_params

from codiemb_pipeline.assemble.near_duplicates import TextIndex, bands_for

# Numbers of words: Chinese queries of some 10 characters (6 words of 1.9), sentences, passages; the same in English.
LENGTHS = {"zh": (5, 6, 8, 16, 80), "en": (5, 6, 8, 16, 80)}
TEXTS = 60


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
def test_all_texts_that_differ_in_form_alone_are_found_as_equal(planted, edit: str):
    index, languages, texts = planted
    for (kind, _), originals in texts.items():
        for words in originals:
            row = index.add(languages[kind].space.join(words))
            first = index.find(languages[kind].edited(words, edit))[0]
            assert (first.row, first.estimate, first.similarity) == (row, None, 1.0)


@pytest.mark.parametrize("edit", NEAR_EDITS)
@pytest.mark.parametrize("kind", LENGTHS)
def test_at_least_95_percent_of_light_edits_are_found_at_every_length(planted, kind: str, edit: str):
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
def test_nothing_is_found_of_another_language(planted, kind: str):
    index, other = planted[0], Language(kind, 1)
    for length in LENGTHS[kind]:
        for _ in range(TEXTS):
            assert index.find(other.space.join(other.words_of(length))) == ()


@pytest.mark.parametrize("kind", LENGTHS)
def test_hardly_anything_is_found_of_other_texts_of_the_same_language(planted, kind: str):
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
def test_bands_reach_the_recall_within_the_permutations(similarity: float):
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
