"""A YAML file taken apart into its keys and put together again, and keys exchanged for others."""

from __future__ import annotations

from pathlib import Path

import pytest

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.profiles.entries import read_entries, write_entries
from codiemb_pipeline.profiles.exchange import changes, exchange

ODD = """\
# head

a: 1   # one
b:   # block
    # above c
    c: "a # b"   # not c's text
    d: {x: [1, 2], "y": 'z'}  # flow

    list:   # of things
    - one   # first
    - two: 2
      # deep
    # above text
    text: |
      # no comment

      end

  # late
empty:
wrapped: {p: 1,
  q: 2} # two lines

# tail
"""


def test_what_is_read_is_written_byte_for_byte() -> None:
    assert write_entries(*read_entries(ODD, "odd.yaml")) == ODD


def test_each_key_has_its_own_lines_comments_and_value() -> None:
    entries, rest = read_entries(ODD, "odd.yaml")
    assert [entry.key for entry in entries] == ["a", "b", "empty", "wrapped"]
    a, b, empty, wrapped = entries
    assert (a.comments, a.lines, a.remark, a.value) == (("# head",), ("a: 1",), "   # one", 1)
    c, d, things, text = b.entries
    assert (b.lines, b.remark) == (("b:",), "   # block")
    assert (c.comments, c.remark, c.value) == (("# above c",), "   # not c's text", "a # b")
    assert (d.value, d.entries) == ({"x": [1, 2], "y": "z"}, None)
    assert things.lines == ("    list:   # of things", "    - one   # first", "    - two: 2", "      # deep")
    assert things.value == ["one", {"two": 2}]
    assert text.comments == ("# above text",)
    assert text.value == "# no comment\n\nend\n"
    assert (empty.comments, empty.value) == (("# late",), None)
    assert (wrapped.lines, wrapped.remark) == (("wrapped: {p: 1,", "  q: 2}"), " # two lines")
    assert rest == ("", "# tail")


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2]).glob("conf/profiles/*.yaml")), ids=lambda p: p.stem)
def test_every_profile_is_read_and_written_byte_for_byte(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert write_entries(*read_entries(text, path.name)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2\n", r"odd\.yaml: line \d: not YAML"),
        ("a: 1\na: 2\n", r"odd\.yaml: line 2: not YAML \(found duplicate key \"a\""),
        ("{a: 1}\n", r"odd\.yaml: expected keys, one a line"),
        ("a: &b\n  c: 1\nd:\n  <<: *b\n  e: 2\n", r"odd\.yaml: expected no merge keys"),
        ("- a\n", r"odd\.yaml: expected keys, one a line"),
        ("", r"odd\.yaml: expected keys, one a line"),
    ],
)
def test_what_is_no_block_of_keys_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_entries(text, "odd.yaml")


def exchanged(present: str, wanted: str, *others: str) -> str:
    parts = [read_entries(text, "any")[0] for text in (wanted, *others)]
    entries, rest = read_entries(present, "params.yaml")
    return write_entries(exchange(entries, parts[0], parts), rest)


def test_an_equal_value_stays_as_it_is_written() -> None:
    present = 'a:  {x: "1", y: 3e-5}   # mine\nb: [1,2]\n'
    assert exchanged(present, "a: {y: 3.0e-5, x: '1'}\nb: [1, 2]\n") == present


def test_a_value_that_is_one_is_not_true() -> None:
    assert exchanged("a: {x: 1}\n", "a: {x: true}\n") == "a: {x: true}\n"


def test_the_owner_s_comments_stay_and_a_profile_s_go_with_it() -> None:
    present = "# mine\na: 1 # mine too\n# of one\nb: 1 # of one\nc: 1\n"
    one = "a: 1 # of one\n# of one\nb: 1 # of one\nc: 1\n"
    other = "# of other\na: 2 # of other\nb: 2\n# of other\nc: 2 # of other\n"
    expected = "# mine\na: 2 # mine too\nb: 2\n# of other\nc: 2 # of other\n"
    assert exchanged(present, other, one) == expected
    assert exchanged(expected, one, other) == present


def test_keys_come_and_go_with_their_comments_where_the_profile_has_them() -> None:
    present = "s:\n  a: 1\n  # of b\n  b: {x: 1} # b\n  d: 4 # mine\nt: 1\n"
    other = "s:\n  # of c\n  c:\n    deep: 1 # c\n  d: 4\n  e: 5\nt: 1\n"
    expected = "s:\n  # of c\n  c:\n    deep: 1 # c\n  d: 4 # mine\n  e: 5\nt: 1\n"
    assert exchanged(present, other) == expected
    one = "s:\n  a: 1\n  # of b\n  b: {x: 1} # b\n  d: 4\nt: 1\n"
    assert exchanged(expected, one, other) == present


def test_what_comes_is_indented_as_the_block_it_comes_into() -> None:
    present = "s:\n    a: 1\n"
    wanted = "s:\n  a: 1\n  # more\n  b:\n    c:\n      - 1\n"
    assert exchanged(present, wanted) == "s:\n    a: 1\n    # more\n    b:\n      c:\n        - 1\n"


def test_a_block_becomes_a_line_and_a_line_a_block() -> None:
    one, other = "s: {ir: ''} # short\nt:\n  a: 1\n", "s: # long\n  ir: x\n  sts: y\nt: null\n"
    assert exchanged(one, other, one) == other
    assert exchanged(other, one, other) == one


def test_changes_name_the_deepest_keys() -> None:
    was, now = (
        read_entries(t, "any")[0] for t in ("s:\n  a: 1\n  b: {x: 1}\nt: 1\n", "s:\n  a: 2\n  c:\n    d: 1\nt: 1\n")
    )
    found = {change.key: (change.before, change.after) for change in changes(was, now)}
    assert found == {"s.a": ("1", "2"), "s.b": ("{x: 1}", None), "s.c": (None, "(1 keys)")}
