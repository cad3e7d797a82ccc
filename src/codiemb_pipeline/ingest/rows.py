"""Bad rows are set aside with their place and the reason; too many of them are an error. Checks of single fields.

Knows nothing of files, nor of what a row stands for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from codiemb_pipeline.errors import InputError

SHOWN_REJECTS = 10
SHOWN_CHARACTERS = 80
REASON_CHARACTERS = 200
HIGHEST_RELEVANCE = 1_000_000
KEPT_REJECTS = 100_000  # about 60 MB; more are counted, not kept


class BadRowError(Exception):
    """A row that can't be used: which field, and why."""

    def __init__(self, field_name: str, reason: str) -> None:
        super().__init__(f"{field_name}: {reason}")
        self.field, self.reason = field_name, reason


@dataclass
class Ledger:
    """The rows of one source: how many were read, which were set aside, what was left out and why.

    Of the rows set aside the first 100,000 are kept with their reasons; ``rejected`` counts all.
    """

    source: str
    rows: int = 0
    rejected: int = 0
    rejects: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    def reject(self, file: str, row: int, field_name: str, reason: str) -> None:
        """Set a row aside."""
        self.rejected += 1
        if len(self.rejects) >= KEPT_REJECTS:
            return
        place = {"source": self.source, "file": file, "row": row, "field": one_line(field_name)}
        self.rejects.append({**place, "reason": one_line(reason)})

    def leave_out(self, why: str, count: int = 1) -> None:
        """Count rows that are sound but not wanted."""
        if count:
            self.left_out[why] = self.left_out.get(why, 0) + int(count)

    def check(self, tolerance: float) -> None:
        """Raise InputError, with the first ten, when more than ``tolerance`` of the rows were rejected."""
        if self.rejected <= tolerance * self.rows:
            return
        shown = [f"  {r['file']}: row {r['row']}: {r['field']}: {r['reason']}" for r in self.rejects[:SHOWN_REJECTS]]
        more = [f"  and {self.rejected - SHOWN_REJECTS} more"] * (self.rejected > SHOWN_REJECTS)
        share = f"{self.rejected} of {self.rows} rows are bad, over ingest.tolerance = {tolerance:g}"
        raise InputError("\n".join([f"source {self.source!r}: {share}", *shown, *more]))


def shown(value: Any) -> str:
    """Return ``value`` for a message, cut to a line."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def one_line(text: str) -> str:
    """Return ``text`` as one line of bounded length that UTF-8 can hold, whatever the file put into it."""
    line = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    return line if len(line) <= REASON_CHARACTERS else line[: REASON_CHARACTERS - 1] + "…"


def text_of(row: dict[str, Any], field_name: str) -> str:
    """Return a text field with its white space trimmed.

    Raises:
        BadRowError: it is no text, empty, or holds half of a surrogate pair, which no UTF-8 file can.
    """
    value = row[field_name]
    if not isinstance(value, str):
        raise BadRowError(field_name, f"expected text, found {shown(value)}")
    if not value.strip():
        raise BadRowError(field_name, "expected text, found an empty one")
    if not encodes(value):
        raise BadRowError(field_name, f"expected text, found half a character (a lone surrogate) in {shown(value)}")
    return value.strip()


def encodes(text: str) -> bool:
    """Return whether UTF-8 can hold ``text``."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def texts_of(row: dict[str, Any], field_name: str) -> list[str]:
    """Return a field that is a list of texts.

    Raises:
        BadRowError: it is no list, or holds something else than non-empty texts.
    """
    value = row[field_name]
    if not isinstance(value, list):
        raise BadRowError(field_name, f"expected a list of texts, found {shown(value)}")
    return [text_of({f"{field_name}[{place}]": item}, f"{field_name}[{place}]") for place, item in enumerate(value)]


def number_of(row: dict[str, Any], field_name: str) -> float:
    """Return a finite number, written as one or as text.

    Raises:
        BadRowError: it is none.
    """
    value = row[field_name]
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        raise BadRowError(field_name, f"expected a number, found {shown(value)}") from None
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BadRowError(field_name, f"expected a finite number, found {shown(value)}")
    return number


def id_of(row: dict[str, Any], field_name: str) -> str:
    """Return an id as text; whole numbers are taken as ids too.

    Raises:
        BadRowError: it is neither, or empty.
    """
    value = row[field_name]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text_of(row, field_name)


def whole_number_of(row: dict[str, Any], field_name: str) -> int:
    """Return a whole number of at most a million either way, written as one or as text.

    Raises:
        BadRowError: it is none.
    """
    number = number_of(row, field_name)
    if number != int(number) or abs(number) > HIGHEST_RELEVANCE:
        raise BadRowError(field_name, f"expected a whole number of at most {HIGHEST_RELEVANCE}, found {number:g}")
    return int(number)


def known_number(number: int | None, field_name: str, found: str, file: str) -> int:
    """Return the number of a query or document by its id.

    Raises:
        BadRowError: there is none, because ``file`` lacks the id ``found``.
    """
    if number is None:
        raise BadRowError(field_name, f"expected a known id, found {shown(found)}, which {file} lacks")
    return number
