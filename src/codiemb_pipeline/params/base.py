"""How a section of params.yaml becomes a frozen, checked object.

conf/profiles/base.yaml explains every key; the docstrings of the sections add details.
"""

import json
from collections.abc import Mapping
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from codiemb_pipeline.errors import InputError, nearest


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
    path = ".".join(filter(None, [section, *_written_keys(fault, values)]))
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
    shown = "" if isinstance(found, dict) else f"; found {found!r}"
    return f"params.yaml: {path}: {expected[:1].lower()}{expected[1:]}{shown}"


def _written_keys(fault: Any, values: Any) -> list[str]:
    """Return the location of a fault as keys of the file: pydantic also names the member of a union."""
    keys, location = [], fault["loc"]
    for index, part in enumerate(location):
        if isinstance(values, Mapping) and part not in values:
            if fault["type"] != "missing" or index < len(location) - 1:
                continue
            values = None
        elif isinstance(values, Mapping) or (isinstance(values, list | tuple) and isinstance(part, int)):
            values = values[part]
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
