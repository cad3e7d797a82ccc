"""When two texts are the same, and the number that decides their split."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codiemb_pipeline.texts import hash_share, pair_key, text_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Semantic Web", "semantic-web"),
        ("  a cat. ", "A  cat"),
        ("STRASSE", "straße"),
        ("ﬁne", "fine"),  # a ligature
        ("Ｗｉｄｅ", "wide"),  # full-width letters
        ("ΟΔΟΣ", "οδος"),
    ],
)
def test_case_spacing_punctuation_and_letter_forms_do_not_tell_texts_apart(one, other):
    assert text_key(one) == text_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("cat", "cats"), ("resume", "résumé"), ("?", "!"), ("狗", "猫"), ("1", "2")]
)
def test_letters_accents_digits_and_bare_marks_do(one, other):
    assert text_key(one) != text_key(other)


def test_a_text_without_letters_keeps_its_marks_trimmed():
    assert text_key("  ?! ") == "?!"


@given(st.text(), st.text())
def test_a_pair_is_the_same_in_either_order(one, other):
    assert pair_key(one, other) == pair_key(other, one)


@pytest.mark.parametrize(("one", "other"), [(("ab", "c"), ("a", "bc")), (("a", "a"), ("a", "b"))])
def test_pairs_of_other_texts_are_other_pairs(one, other):
    assert pair_key(*one) != pair_key(*other)


def test_the_share_is_the_first_64_bits_of_a_sha256_over_the_parts():
    digest = hashlib.sha256(b"49\x1fsource\x1fkey").hexdigest()
    assert hash_share(49, "source", "key") == int(digest[:16], 16) / 2**64


def test_the_share_of_known_parts_never_changes():
    """Split membership of every published run hangs on it."""
    assert hash_share("a", "b") == 0.938672836308991
    assert hash_share(49, "simlex999", ("new", "old")) == 0.3842502993617564


def test_parts_are_told_apart_by_where_they_end():
    assert hash_share("ab", "c") != hash_share("a", "bc")


@given(st.text(st.characters(codec="utf-8")))
def test_the_share_is_within_0_and_1(text):
    assert 0 <= hash_share(text) <= 1
