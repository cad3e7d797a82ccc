"""How a section of params.yaml becomes a frozen, checked object."""

from __future__ import annotations

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
            faults = [_describe(cls, name, fault) for fault in error.errors()]
            raise InputError("\n".join(dict.fromkeys(faults))) from None


def _describe(model: type[BaseModel], section: str, fault: Any) -> str:
    """Return one line for one pydantic fault."""
    path = ".".join(filter(None, [section, *map(str, fault["loc"])]))
    if fault["type"] == "extra_forbidden":
        valid = _keys_at(model, fault["loc"][:-1])
        return f"params.yaml: {path}: unknown parameter{nearest(str(fault['loc'][-1]), valid)}"
    if fault["type"] == "missing":
        return f"params.yaml: {path}: missing parameter"
    found = fault["input"]
    expected = fault["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(found, dict) else f"; found {found!r}"
    return f"params.yaml: {path}: {expected[:1].lower()}{expected[1:]}{shown}"


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the valid keys at ``location`` below ``model``, through nested sections, lists and maps."""
    candidates: list[Any] = [model]
    for part in location:
        below: list[Any] = []
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                field = candidate.model_fields.get(str(part))
                below += [field.annotation, *get_args(field.annotation)] if field else []
            else:
                below += get_args(candidate)
        candidates = below or candidates
    models = [entry for entry in candidates if isinstance(entry, type) and issubclass(entry, BaseModel)]
    return [key for entry in models for key in entry.model_fields]
