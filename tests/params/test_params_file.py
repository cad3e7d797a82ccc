"""One reading of params.yaml, DVC's: ruamel, YAML 1.2."""

from pathlib import Path

import pytest
from dvc.utils.serialize import parse_yaml

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.file import read_params, write_yaml

ALIASES = "a: &a [1, 1]\n" + "\n".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]" for a, b in zip("abcdef", "bcdefg", strict=True)
)


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "params.yaml"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("3e-5", 3e-5), ("1E5", 1e5), ("1e-5", 1e-5), (".5", 0.5), ("010", 10), ("0o17", 15), ("12:30", "12:30")],
        *[("yes", "yes"), ("on", "on"), ("true", True), ("~", None), ('"49"', "49"), ("1_000", 1000), ("${x}", "${x}")],
    ],
)
def test_values_are_those_that_dvc_reads(file, text, value):
    file.write_text(f"a: {text}\n")
    assert repr(read_params(file)) == repr({"a": value})
    assert repr(parse_yaml(file.read_text(), str(file))) == repr({"a": value})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("train: {seed: 1, seed: 2}", "line 1"),
        ("a: 1\na: 2", "line 2"),
        ("runs:\n  49: {}", '"49"'),
        ("runs:\n  1e-5: {}", "runs"),
        ("runs: {null: {}}", "runs"),
        ("a: 2026-01-01", "a: a date"),
        ("a: !!binary aGk=", "a: a bytes"),
        ("a: !!python/object/apply:os.system [x]", "line 1"),
        ("a: [1", "line 1"),
        ("- a", "list"),
        ("a", "str"),
        ("a: &a [*a]", "params.yaml"),
        ("[" * 3000, "nested"),
        ("a: " + "9" * 4000, "300 digits"),
        ("a: " + "9" * 5000, "digits"),
        ('a: "\\ud800"', "character"),
        ("a: \x00", "position"),
        ("a: 1\n---\nb: 2", "line"),
        (ALIASES, "values"),
    ],
)
def test_what_cannot_be_right_is_refused_in_one_line(file, text, named):
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        read_params(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert named in message
    assert "\n" not in message
    assert len(message) < 500


def test_a_file_that_is_no_text_or_not_there_is_refused(file):
    with pytest.raises(InputError, match=r"params\.yaml"):
        read_params(file)
    file.write_bytes(b"a: \xff")
    with pytest.raises(InputError, match="utf-8"):
        read_params(file)


def test_names_and_values_that_look_like_others_are_written_so_that_they_stay(file):
    values = {"1e-5": {"49": "yes", "null": "~", "a": 5e-5, "b": "5e-5", "c": "2026-01-01", "d": "\x85", "e": "我的"}}
    file.write_text(write_yaml(values))
    assert repr(read_params(file)) == repr(values)
