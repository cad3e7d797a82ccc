"""How YAML files of parameters are read and written: as DVC does (ruamel, YAML 1.2), whoever reads them.

``3e-5`` is a number and ``yes`` a text. What JSON could not hold (dates, binary data, names that are no text) is an
error, as are a key that stands twice and a file that is no mapping.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from codiemb_pipeline.errors import InputError

PARAMS_FILE = Path("params.yaml")
MOST_VALUES = 100_000
"""Of a file, aliases expanded: a few lines of nested aliases can mean more values than memory holds."""


def read_params(file: Path) -> dict[str, Any]:
    """Return the values of a params.yaml, not yet checked.

    Raises:
        InputError: the file is missing, or it is not a mapping in YAML; names line or key.
    """
    try:
        values = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
        values = {} if values is None else values  # as DVC has it
        _check_plain(values, "", [0])
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InputError(f"{file}: {where}not YAML: {_one_line(error.problem or error)}") from None
    except RecursionError:
        raise InputError(f"{file}: expected parameters in YAML, found mappings or lists nested too deeply") from None
    except (OSError, ValueError, YAMLError) as error:  # ValueError: not UTF-8, or a number or date that there is not
        raise InputError(f"{file}: expected parameters in YAML, found: {_one_line(error)}") from None
    if not isinstance(values, dict):
        raise InputError(f"{file}: expected a mapping of parameters, found {type(values).__name__}")
    return values


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:200]


def _check_plain(value: Any, key: str, count: list[int]) -> None:
    """Refuse what is not made of mappings with text as keys, lists, text, numbers, booleans and null."""
    count[0] += 1
    if count[0] > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")
    if isinstance(value, dict):
        for name, inside in value.items():
            _check_plain(name, key, count)
            if not isinstance(name, str):
                raise ValueError(f'{key}: the name {name}, which is no text; put quotes around it: "{name}"')
            _check_plain(inside, f"{key}.{name}".removeprefix("."), count)
    elif isinstance(value, list):
        for number, inside in enumerate(value):
            _check_plain(inside, f"{key}.{number}", count)
    elif fault := _fault(value):
        raise ValueError(f"{key}: {fault}")


def _fault(value: Any) -> str | None:
    """Return what is wrong with a single value, or ``None``."""
    if not isinstance(value, str | int | float | None):
        return f"a {type(value).__name__}; put quotes around a text"
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        return "a text with half a character (surrogate)"
    if isinstance(value, int) and value.bit_length() > 1000:
        return "a number of more than 300 digits"
    return None


def write_yaml(values: Mapping[str, Any]) -> str:
    """Return values as YAML that :func:`read_params`, and readers of YAML 1.1, read as the same."""
    text = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=1000)
    if YAML(typ="safe").load(text) != values:  # PyYAML puts no quotes around a text such as 1e-5
        text = yaml.safe_dump(dict(values), sort_keys=False, default_style='"', width=1000)
    return text
