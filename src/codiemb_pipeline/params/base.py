"""How a section of params.yaml becomes a frozen, checked object.

conf/profiles/base.yaml explains every key; the docstrings of the sections add details.
"""

import json
import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from codiemb_pipeline.errors import InputError, nearest

MOST = 2**31 - 1
LONGEST_NAME = 100
"""Bytes of a name: it becomes part of names of files, which most file systems limit to 255 bytes."""

# Bounds of numbers: what the code below can take. No setting that makes sense is near them.
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Count = Annotated[int, Field(ge=1, le=MOST)]
CountOrZero = Annotated[int, Field(ge=0, le=MOST)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0, le=1e6)]
PositiveWeight = Annotated[float, Field(ge=1e-6, le=1e6)]
Temperature = Annotated[float, Field(ge=1e-4, le=1e3)]


def _file_name(name: str) -> str:
    if not name.isprintable() or set(name) & set("/\\") or name != name.strip(" .") or not name:
        raise ValueError(
            "expected a name for files: without / and \\, control characters, and dots or spaces at its ends"
        )
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"expected a name of at most {LONGEST_NAME} bytes, found {len(name.encode())}")
    return name


def _distinct(named: dict[str, Any]) -> dict[str, Any]:
    seen: dict[str, str] = {}
    for name in named:
        first = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if first != name:
            raise ValueError(f"{first!r} and {name!r} are one file name on some disks; rename one")
    return named


def _location(path: str) -> str:
    if not path.isprintable() or not path.strip():
        raise ValueError("expected a path of printable characters")
    if len(path.encode()) > 4000 or any(len(part.encode()) > 255 for part in PurePosixPath(path).parts):
        raise ValueError("expected a path of at most 4000 bytes, each part of at most 255")
    return path


FileName = Annotated[str, AfterValidator(_file_name)]
"""A name in params.yaml that becomes the name of a file or folder."""
DISTINCT = AfterValidator(_distinct)
"""Of a mapping by file names: no two are the same where a disk ignores case."""
Location = Annotated[str, AfterValidator(_location)]
"""A path, ``package:`` location or hub id."""


class Section(BaseModel):
    """A part of params.yaml: unknown keys, missing keys and wrong types are errors; nothing is guessed or converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, values: Mapping[str, Any], name: str) -> Self:
        """Check ``values``, the content of section ``name`` (empty for the whole file).

        Raises:
            InputError: one line per fault, each naming the full key, what was expected and what was found.
        """
        try:
            # Through JSON, where a strict list may become a tuple and nothing else is converted.
            return cls.model_validate_json(json.dumps(values, default=str))
        except ValidationError as error:
            faults = [_describe(cls, name, fault, values) for fault in error.errors()]
            raise InputError("\n".join(dict.fromkeys(faults))) from None


def _describe(model: type[BaseModel], section: str, fault: Any, values: Any) -> str:
    """Return one line for one pydantic fault."""
    path = ".".join(filter(None, [section, *map(_shown, _written_keys(fault, values))]))
    if fault["type"] == "extra_forbidden":
        valid = _keys_at(model, fault["loc"][:-1])
        return f"params.yaml: {path}: unknown parameter{nearest(str(fault['loc'][-1]), valid)}"
    if fault["type"] == "missing":
        return f"params.yaml: {path}: missing parameter"
    if fault["type"] in ("union_tag_not_found", "union_tag_invalid"):
        path += "." + fault["ctx"]["discriminator"].strip("'()")
        if fault["type"] == "union_tag_not_found":
            return f"params.yaml: {path}: missing parameter"
        return f"params.yaml: {path}: expected one of {fault['ctx']['expected_tags']}; found {fault['ctx']['tag']!r}"
    found = fault["input"]
    expected = fault["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(found, dict) else f"; found {short(repr(found))}"
    return f"params.yaml: {path}: {expected[:1].lower()}{expected[1:]}{shown}"


def _shown(key: str) -> str:
    return short(key if key.strip() and key.isprintable() else repr(key))


def short(text: str) -> str:
    """Return ``text`` as messages show it."""
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}..."


def _written_keys(fault: Any, values: Any) -> list[str]:
    """Return the location of a fault as keys of the file: pydantic also names the member of a union."""
    keys, location = [], fault["loc"]
    for index, part in enumerate(location):
        if isinstance(values, Mapping) and part not in values:
            if fault["type"] != "missing" or index < len(location) - 1:
                continue
            values = None
        elif isinstance(values, Mapping):
            values = values[part]
        elif isinstance(values, list | tuple) and isinstance(part, int):
            values = values[part] if part < len(values) else None
        keys.append(str(part))
    return keys


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the valid keys at ``location`` below ``model``, through nested sections, lists, maps and unions."""
    models = [model]
    for part in location:
        fields = [entry.model_fields[str(part)] for entry in models if str(part) in entry.model_fields]
        models = [entry for field in fields for entry in _models_of(field.annotation)] or models
    return [key for entry in models for key in entry.model_fields]


def _models_of(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [entry for part in get_args(annotation) for entry in _models_of(part)]
