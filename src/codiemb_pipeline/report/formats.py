"""How the page formats numbers and names."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

DECIMALS = 3
"""Scores are shown, and called equal, at this many decimals."""
MINUS, NOTHING = "\N{MINUS SIGN}", "\N{EN DASH}"


def number(value: float | None, decimals: int = DECIMALS) -> str:
    """Return ``0.583``, with a typographic minus; a dash for a missing value."""
    if _missing(value):
        return NOTHING
    return _no_negative_zero(f"{value:,.{decimals}f}").replace("-", MINUS)


def signed(value: float | None, decimals: int = DECIMALS) -> str:
    """Return ``+0.071``, or ``±0.000`` if it rounds to zero; a dash for a missing value."""
    if _missing(value):
        return NOTHING
    sign = "±" if round(value, decimals) == 0 else "+" if value > 0 else MINUS
    return f"{sign}{abs(value):,.{decimals}f}"


def direction(value: float | None, decimals: int = DECIMALS) -> str:
    """Return ``up``, ``down`` or ``same`` at the decimals shown."""
    if _missing(value) or round(float(value), decimals) == 0:
        return "same"
    return "up" if value > 0 else "down"


def count(value: int | None) -> str:
    """Return ``12,345``; a dash for ``None``."""
    return NOTHING if value is None else f"{int(value):,}"


def duration(seconds: float) -> str:
    """Return ``4 min 12 s``; tenths of a second below ten."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def listed(names: list[str]) -> str:
    """Return ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def to_yaml(value: Any) -> str:
    """Return ``value`` as YAML in its own order, with absolute paths cut to their last two parts."""
    return yaml.safe_dump(_without_absolute_paths(value), sort_keys=False, allow_unicode=True, default_flow_style=None)


def encoder_name(path: str) -> str:
    """Return a short name of an encoder: its package, its folder, or its id on the hub."""
    if path.startswith("package:"):
        return path.removeprefix("package:").partition("/")[0]
    return path.rstrip("/").rpartition("/")[2] if _is_absolute(path) or path.startswith((".", "~")) else path


def _without_absolute_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_absolute_paths(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_absolute_paths(entry) for entry in value]
    if isinstance(value, str) and _is_absolute(value):
        return "…/" + "/".join(re.split(r"[\\/]+", value.rstrip("\\/"))[-2:])
    return value


def _is_absolute(text: str) -> bool:
    return bool(re.match(r"(/|[A-Za-z]:[\\/])[^\n]*$", text))


def _missing(value: float | None) -> bool:
    return value is None or not math.isfinite(value)


def _no_negative_zero(text: str) -> str:
    return text.removeprefix("-") if text.startswith("-") and not text.strip("-0.,") else text
