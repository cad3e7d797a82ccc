"""When two texts are the same, and the number that decides their split."""

import hashlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codiemb_pipeline.texts import coarse_key, hash_share, pair_key, text_digest, text_key

SAME = [
    ("Semantic  Web", "semantic web"),
    ("  a cat.\u3000", "A\ncat."),
    ("a\u2028b\xa0c", "a b c"),
    ("STRASSE", "straße"),
    ("ﬁne", "fine"),  # a ligature
    ("Ｗｉｄｅ", "wide"),  # full-width letters
    ("ΟΔΟΣ", "οδος"),
    ("ΐ", "ΐ".upper()),  # folds to three characters, of which NFKC composes two or three
    ("résumé", "re\u0301sume\u0301"),
]
DIFFERENT = [
    *[("cat", "cats"), ("resume", "résumé"), ("?", "!"), ("狗", "猫"), ("1", "2"), ("thecat", "the cat")],
    *[("C", "C++"), ("C", "C#"), ("-5", "5"), ("1.5", "15"), ("x<y", "x>y"), ("$5", "5%"), ("a cat", "a cat.")],
    *[("great 😀", "great 😡"), ("great", "great ❤"), ("naïve", "nai\u0308ve!")],
    *[("दिन", "दान"), ("दिन", "दीन"), ("ไม่", "ไม้"), ("ไม่", "ไม"), ("కల", "కాల"), ("কল", "কাল"), ("மரம்", "மரம")],
    *[("عِلم", "عَلَم"), ("דָּבָר", "דבר"), ("semantic-web", "semantic web"), ("C:\\a", "C:/a")],
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_case_white_space_and_letter_forms_do_not_tell_texts_apart(one, other):
    assert text_key(one) == text_key(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_all_else_does(one, other):
    assert text_key(one) != text_key(other)
    assert text_digest(one) != text_digest(other)


@given(st.text(), st.text())
def test_texts_are_equal_exactly_where_the_written_out_rule_makes_them_equal(one, other):
    """Oracle: NFKC, case folding and NFKC of every text alike, then white space one character at a time."""

    def plain(text: str) -> str:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        words, word = [], ""
        for character in folded + " ":
            if character.isspace():
                words, word = [*words, *([word] if word else [])], ""
            else:
                word += character
        return "\0 ".join(words)

    for first, second in ((one, other), (one, one.upper()), (one, one + other), (one, f" {one}\t"), (one, one[::-1])):
        assert (text_key(first) == text_key(second)) == (plain(first) == plain(second))


@given(st.text())
def test_a_key_is_its_own_key(text):
    assert text_key(text_key(text)) == text_key(text)


@pytest.mark.parametrize(
    ("one", "other"), [("C++ is fast!", "c is fast"), ("semantic-web", "Semantic  Web"), ("a, b", "ab"), ("x<y", "x>y")]
)
def test_the_coarse_key_of_the_audit_looks_through_signs_and_spaces(one, other):
    assert coarse_key(one) == coarse_key(other)
    assert text_key(one) != text_key(other)


@pytest.mark.parametrize(("one", "other"), [("दिन", "दान"), ("ไม่", "ไม้"), ("cat", "cats"), ("?!", "!")])
def test_the_coarse_key_keeps_marks_and_texts_of_signs_alone(one, other):
    assert coarse_key(one) != coarse_key(other)


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
