"""Mutated params.yaml: right, or an InputError.

Oracles of what is accepted: DVC reads the same values; the parsed object holds all of them, unconverted, so that no key
is ignored; numbers, names and references satisfy bounds written here, not taken from ``params/``.
"""

import copy
import math
import re
from collections.abc import Callable
from typing import Any

import frozen_params
from dvc.utils.serialize import ParseError, parse_yaml
from hypothesis import event, given
from hypothesis import strategies as st

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params import Params
from codiemb_pipeline.params.file import read_params, write_yaml
from fuzz.trees import at, places

VALUES = frozen_params.params()
TEXT = frozen_params.PARAMS_FILE.read_text(encoding="utf-8")
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([0, -1, 1, 2, 0.5, 10**30, 2**31, 2**32, 2**63, 9e18, 1e300, 1e-300, -0.0, math.inf, math.nan]),
)
WORDS = st.sampled_from(
    [
        *("", " ", "1", "1e-5", "yes", "null", "auto", "base", "lee", "leee", "semanlink", "simlex999", "main"),
        *("ir", "sts", "../x", "/etc/passwd", ".hidden", "a/b", "a\\b", "nul\0", "line\nbreak", "x" * 101),
        *("x" * 100_000, "ü" * 60, "MAIN", "Lee", "host:99999", "host:1", "{instruction}", "{instruction} {x}"),
        *("\ud800", "\u202e"),
    ]
)
VALUE = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(WORDS, inside, max_size=3),
    max_leaves=4,
)


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """Draw parameters of which up to three are replaced, removed, renamed, copied from elsewhere or added."""
    values = copy.deepcopy(VALUES)
    for _ in range(draw(st.integers(1, 3))):
        *above, key = draw(st.sampled_from(places(values)))
        parent, kind = (
            at(values, tuple(above)),
            draw(st.sampled_from(["replace", "replace", "remove", "rename", "copy"])),
        )
        if kind == "remove":
            del parent[key]
        elif kind == "rename" and isinstance(parent, dict):
            parent[draw(WORDS)] = parent.pop(key)
        elif kind == "copy" and isinstance(parent, dict):
            parent[draw(WORDS)] = copy.deepcopy(at(values, draw(st.sampled_from(places(values)))))
        else:
            parent[key] = draw(VALUE)
    return values


def same(written: Any, parsed: Any) -> bool:
    """Return whether all that was written is in what was parsed, unconverted but for whole numbers as real ones."""
    if isinstance(written, dict):
        return isinstance(parsed, dict) and all(
            (value is None and key not in parsed) or (key in parsed and same(value, parsed[key]))
            for key, value in written.items()
        )
    if isinstance(written, list | tuple):
        return len(written) == len(parsed) and all(map(same, written, parsed))
    return written == parsed and isinstance(written, bool) == isinstance(parsed, bool)


WHOLE = ("seed", "epochs", "levels", "max_length", "loader_workers", "permutations", "accumulation", "layer")
SWITCHES = ("normalize", "compile", "grad_cache", "same_slot", "trust_remote_code", "repeat", "last_only")


def check_numbers(values: dict[str, Any]) -> None:
    for path in places(values):
        value, key = at(values, path), path[-1]
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert math.isfinite(value), path
            assert abs(value) < 2**32, path
            assert value >= 0 or key == "tau" or path[-2] == "score_range", path
        assert key not in WHOLE or type(value) is int or value is None, path
        assert key not in SWITCHES or type(value) is bool, path
        assert key != "temperature" or value > 1e-9, path
        assert key not in ("permutations", "loader_workers") or value <= 10_000, path


def check_names(values: dict[str, Any]) -> None:
    sources, benchmarks = values["ingest"]["sources"], values["evaluate"]["benchmarks"]
    for names in (sources, benchmarks, values["runs"], values["merge"]["recipes"]):
        assert len({name.casefold() for name in names}) == len(names)
        for name in names:
            assert re.fullmatch(r"[^/\\\x00-\x1f\x7f]+", name), name
            assert not name.startswith(".")
            assert len(name.encode()) <= 100
    assert {*values["assemble"]["train_sources"], *values["assemble"]["dev_sources"]} <= sources.keys()
    assert values["assemble"]["caps"].keys() <= sources.keys()
    assert {entry["source"] for entry in benchmarks.values() if entry["type"] != "mteb"} <= sources.keys()
    for recipe in values["merge"]["recipes"].values():
        assert set(recipe.get("runs") or ()) <= values["runs"].keys()


def tried(function: Callable[[Any], Any], argument: Any) -> tuple[Any, str | None]:
    """Return a result and ``None``, or ``None`` and the words of the refusal."""
    try:
        result = function(argument)
    except InputError as error:
        event("refused")
        return None, str(error)
    event("accepted")
    return result, None


@given(mutated())
def test_parameters_are_right_or_refused(values):
    params, refusal = tried(Params.parse, values)
    if refusal is not None:
        assert all(re.match(r"params\.yaml: \S", line) for line in refusal.split("\n"))
        assert len(refusal) < 20_000
        return
    check_numbers(values)
    check_names(values)
    assert same(values, params.model_dump(mode="json"))
    for run, overrides in values["runs"].items():
        assert same(overrides, params.trainings[run].model_dump(mode="json"))


TOKENS = st.sampled_from(
    [
        *("3e-5", "1e5", "1_0", "0x1F", "0o17", "010", "12:30", "2026-01-01", "~", "yes", "No", "on", ".inf", ".nan"),
        *(
            '"49"',
            "'1e-5'",
            "*a",
            "&a [*a]",
            "&a {b: 1}",
            "!!binary aGk=",
            "!!python/object:os.system x",
            "!!set {a, b}",
        ),
        *("{a: 1, a: 2}", "[1, 2", "}", "|", ">-", "\t", "? x", "- 1", "49: {}", "null: {}", "1e-5: {}", "yes: {}"),
        *(
            "\ufeff",
            "${x}",
            "%YAML 1.1",
            "---",
            "...",
            "<<: *a",
            "!x y",
            "9" * 5000,
            "[" * 500,
            "\x00",
            "\x85",
            "\u2028",
        ),
    ]
)


@st.composite
def mutated_text(draw: st.DrawFn) -> str:
    """Draw the text of a params.yaml in which values, keys or lines are replaced, inserted or removed."""
    lines = TEXT.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        number, token = draw(st.integers(0, len(lines) - 1)), draw(TOKENS | st.text(max_size=4))
        key = lines[number].partition(":")[0]
        indent = " " * (len(key) - len(key.lstrip()))
        lines[number : number + draw(st.integers(0, 1))] = draw(
            st.sampled_from([[f"{key}: {token}"], [indent + token], [f"{indent}{token}: 1"], [], [lines[number]] * 2])
        )
    return "\n".join(lines)


@given(mutated_text())
def test_a_file_is_read_as_dvc_reads_it_or_refused(tmp_path, text):
    file = tmp_path / "params.yaml"
    file.write_bytes(text.encode(errors="surrogatepass"))
    values, refusal = tried(read_params, file)
    if refusal is not None:
        assert refusal.startswith(f"{file}: ")
        assert "\n" not in refusal
        return
    event("accepted")
    try:
        expected = parse_yaml(file.read_text(encoding="utf-8"), str(file))
    except ParseError:
        raise AssertionError("DVC refuses the file") from None
    assert repr(values) == repr(expected)
    for path in places(values):
        assert type(at(values, path)) in (dict, list, str, int, float, bool, type(None)), path
        assert all(isinstance(key, str | int) for key in path)


@given(st.dictionaries(st.text(), VALUE, max_size=4))
def test_what_is_written_is_read_as_the_same(tmp_path, values):
    """Profiles are written by ``make profile``; a name such as ``1e-5`` must stay text."""
    file = tmp_path / "params.yaml"
    try:
        file.write_text(write_yaml(values), encoding="utf-8")
        found = read_params(file)
    except (InputError, UnicodeEncodeError):
        assert "\\ud" in repr(values), "half a character is the only text that YAML cannot hold"
    else:
        assert repr(found) == repr(values)
