"""How the page formats numbers and names."""

import math
import re
from typing import Any

import yaml

DECIMALS = 3
"""Scores are shown, and called equal, at this many decimals."""
TASK_WORDS = {"ir": "retrieval", "sts": "similarity"}
METRIC_LABELS = {"ndcg_at_10": "nDCG@10", "cosine_spearman": "Spearman"}
MINUS, NOTHING = "\N{MINUS SIGN}", "\N{EN DASH}"


def number(value: float | None, decimals: int = DECIMALS) -> str:
    """Return ``0.583``, with a typographic minus; a dash for a missing value."""
    return NOTHING if _missing(value) else f"{value:z,.{decimals}f}".replace("-", MINUS)


def signed(value: float | None, decimals: int = DECIMALS) -> str:
    """Return ``+0.071``, or ``±0.000`` if it rounds to zero; a dash for a missing value."""
    if _missing(value):
        return NOTHING
    sign = {"up": "+", "down": MINUS, "same": "±"}[direction(value, decimals)]
    return f"{sign}{abs(value):,.{decimals}f}"


def direction(value: float | None, decimals: int = DECIMALS) -> str:
    """Return ``up``, ``down`` or ``same`` at the decimals shown."""
    if _missing(value) or round(float(value), decimals) == 0:
        return "same"
    return "up" if value > 0 else "down"


def _missing(value: float | None) -> bool:
    return value is None or not math.isfinite(value)


def count(value: int | None) -> str:
    """Return ``12,345``; a dash for ``None``."""
    return NOTHING if value is None else f"{int(value):,}"


def duration(seconds: float) -> str:
    """Return ``4 min 12 s``; tenths of a second below ten."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def listed(names: list[str]) -> str:
    """Return ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def short_step(name: str) -> str:
    """Return ``step 30`` for ``main/step-000030`` and ``hot, step 30`` for other runs; keep other names."""
    found = re.fullmatch(r"(?:(.+)/)?step-(\d+)", name)
    if not found:
        return name
    run, step = found.groups()
    return f"step {int(step)}" if run in (None, "main") else f"{run}, step {int(step)}"


def encoder_name(path: str) -> str:
    """Return a short name of an encoder: its package, its folder, or its id on the hub."""
    if path.startswith("package:"):
        return path.removeprefix("package:").partition("/")[0]
    return path.rstrip("/").rpartition("/")[2] if _is_absolute(path) or path.startswith((".", "~")) else path


def to_yaml(value: Any) -> str:
    """Return ``value`` as YAML in its own order, with absolute paths cut to their last two parts."""
    return yaml.safe_dump(_without_absolute_paths(value), sort_keys=False, allow_unicode=True, default_flow_style=None)


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
