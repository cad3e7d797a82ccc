"""Checks of columns: a row that fails one is rejected with its field and reason; too many of them are an error."""

import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.hashing import TextIndex

SHOWN_REJECTS = 10
SHOWN_CHARACTERS = 80
REASON_CHARACTERS = 200
HIGHEST_RELEVANCE = 1_000_000
KEPT_REJECTS = 100_000  # about 60 MB; more are counted, not kept
WHITE_SPACE = "".join(character for character in map(chr, range(sys.maxunicode)) if character.isspace())
# A character that shows: no control, format, space or ignorable one (zero-width, fillers, selectors), no empty braille.
VISIBLE = r"[^\p{Cc}\p{Cf}\p{Z}\s\p{Default_Ignorable_Code_Point}\x{2800}]"
NUMBER = r"^\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*$"
NOT_FINITE = re.compile(r"\s*[+-]?(?:nan|inf|infinity)\s*", re.IGNORECASE)

Fault = tuple[int, str, str]  # row, field, reason


@dataclass
class RejectLog:
    """The rows of one source: how many were read, which were rejected, how many were filtered and why.

    The first 100,000 rejected rows are kept with their reasons; ``rejected`` counts all. ``files`` are those read.
    """

    source: str
    rows: int = 0
    rejected: int = 0
    rejects: list[dict[str, Any]] = field(default_factory=list)
    filtered: dict[str, int] = field(default_factory=dict)
    files: set[Path] = field(default_factory=set)

    def reject(self, file: str, faults: Iterable[Fault]) -> None:
        """Reject rows of ``file``."""
        for row, field_name, reason in faults:
            self.rejected += 1
            if len(self.rejects) < KEPT_REJECTS:
                place = {"source": self.source, "file": file, "row": row, "field": one_line(field_name)}
                self.rejects.append({**place, "reason": one_line(reason)})

    def filter(self, why: str, count: int = 1) -> None:
        """Count rows that are sound but not wanted."""
        if count:
            self.filtered[why] = self.filtered.get(why, 0) + int(count)

    def narrow(self, why: str, before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
        """Return ``after``, and count the rows that it lacks as filtered."""
        self.filter(why, len(before) - len(after))
        return after

    def check(self, tolerance: float) -> None:
        """Raise InputError, with the first ten, when more than ``tolerance`` of the rows were rejected."""
        if self.rejected <= tolerance * self.rows:
            return
        first = [f"  {r['file']}: row {r['row']}: {r['field']}: {r['reason']}" for r in self.rejects[:SHOWN_REJECTS]]
        more = [f"  and {self.rejected - SHOWN_REJECTS} more"] * (self.rejected > SHOWN_REJECTS)
        share = f"{self.rejected} of {self.rows} rows are bad, over ingest.tolerance = {tolerance:g}"
        raise InputError("\n".join([f"source {self.source!r}: {share}", *first, *more]))


class Batch:
    """Some rows of one file as columns.

    A check returns a column with null, or any value, where a row fails; :meth:`sound` leaves the rows that passed all
    checks. The first check that fails gives the reason.

    Args:
        file: what messages call the file.
        rows: number of each row.
        columns: by name, of equal length: lists of Python values or Series.
        faults: of rows that the reader rejected; they are not among ``rows``.
        names: what messages call a column, where that differs by row.
    """

    def __init__(
        self,
        file: str,
        rows: Sequence[int],
        columns: dict[str, Any],
        faults: Sequence[Fault] = (),
        names: dict[str, list[str]] | None = None,
    ) -> None:
        self.file, self.rows, self.columns = file, rows, columns
        self._reader_faults, self._names = faults, names or {}
        self.faults: dict[int, tuple[str, str]] = {}

    def reject(self, index: int, name: str, reason: str) -> None:
        """Reject the row at ``index`` of this batch, unless it is rejected already."""
        self.faults.setdefault(index, (self._names[name][index] if name in self._names else name, reason))

    def sound(self, **columns: pl.Series) -> pl.DataFrame:
        """Return ``columns``, and ``index``, of the rows that passed all checks."""
        frame = pl.DataFrame([series.alias(name) for name, series in columns.items()]).with_row_index("index")
        return frame.filter(~pl.col("index").is_in(list(self.faults))) if self.faults else frame

    def close(self, log: RejectLog) -> None:
        """Hand the number of rows and the rejected ones, in the order of the file, to ``log``."""
        log.rows += len(self.rows) + len(self._reader_faults)
        checked = [(self.rows[index], *fault) for index, fault in self.faults.items()]
        log.reject(self.file, sorted([*self._reader_faults, *checked], key=lambda fault: fault[0]))

    def texts(self, name: str, *, blank: pl.Series | bool = False) -> pl.Series:
        """Return a column of texts with their white space trimmed; empty ones pass where ``blank``.

        A text in which nothing shows is an empty one.
        """
        values = self.columns[name]
        texts = _trimmed(_strings(values))
        for index in (texts.is_null() | (texts == "")).arg_true():
            empty = values[index] is None or texts[index] == ""
            if not (empty and (blank if isinstance(blank, bool) else blank[index])):
                self.reject(index, name, text_fault(values[index]))
        return texts.fill_null("")

    def ids(self, name: str) -> pl.Series:
        """Return a column of ids as text; whole numbers are ids too."""
        values = self.columns[name]
        if isinstance(values, pl.Series):
            self.columns[name] = values.cast(pl.String) if values.dtype.is_integer() else values
        elif int in set(map(type, values)):
            self.columns[name] = [str(value) if type(value) is int else value for value in values]
        return self.texts(name)

    def numbers(self, name: str) -> pl.Series:
        """Return a column of finite numbers, written as numbers or, in ASCII, as text."""
        values = self.columns[name]
        found = _numbers(values)
        bad = found.is_null() | ~found.is_finite()
        for index in bad.arg_true():
            self.reject(index, name, number_fault(values[index]))
        return found.set(bad, None)

    def whole_numbers(self, name: str) -> pl.Series:
        """Return a column of whole numbers of at most a million either way, written as numbers or as text."""
        numbers = self.numbers(name)
        for index in ((numbers != numbers.round()) | (numbers.abs() > HIGHEST_RELEVANCE)).arg_true():
            reason = f"expected a whole number of at most {HIGHEST_RELEVANCE}, found {numbers[index]:g}"
            self.reject(index, name, reason)
        return numbers.cast(pl.Int64, strict=False)

    def text_lists(self, name: str, *, optional: bool = False) -> pl.DataFrame:
        """Return the texts of a column of lists, their white space trimmed, as rows of ``index`` and ``text``.

        An object in a list stands for its ``text``. Each list must hold a text unless ``optional``, where ``None``
        stands for an empty one too.
        """
        values = self.columns[name]
        values = values.to_list() if isinstance(values, pl.Series) else values
        lists = [value if isinstance(value, list) else [] for value in values]
        texts = _strings([item.get("text") if isinstance(item, dict) else item for items in lists for item in items])
        lengths = pl.Series(map(len, lists), dtype=pl.UInt32)
        index = pl.int_range(len(lists), dtype=pl.UInt32, eager=True).repeat_by(lengths).explode().drop_nulls()
        found = pl.DataFrame([index.alias("index"), _trimmed(texts).alias("text")])
        bad = found.filter(pl.col("text").is_null() | (pl.col("text") == ""))["index"].unique()
        none = [row for row in (lengths == 0).arg_true() if not (optional and values[row] in (None, []))]
        for row in [*bad, *none]:
            self.reject(row, *(list_fault(values[row], name) or (name, "expected one text at least, found none")))
        return found

    def number_lists(self, name: str, beside: str) -> pl.Series:
        """Return a column of lists of finite numbers, in each list one for each item of ``beside``, a column of lists.

        Raises:
            InputError: the column holds something else.
        """
        lists, others = self.columns[name], self.columns[beside]
        numeric = isinstance(lists.dtype, pl.List) and (lists.dtype.inner.is_numeric() or lists.dtype.inner == pl.Null)
        for column, holds, kind in (
            (beside, isinstance(others.dtype, pl.List), "lists"),
            (name, numeric, "lists of numbers"),
        ):
            if not holds:
                raise InputError(f"{self.file}: column {column!r}: expected {kind}, found {self.columns[column].dtype}")
        items = others.list.len().fill_null(0)
        lists = lists.cast(pl.List(pl.Float64))
        # Null is neither, and a list that is null counts as empty.
        finite = lists.list.eval(pl.element().is_finite().fill_null(False)).list.sum().fill_null(0)
        for index in ((finite != items) | (lists.list.len().fill_null(0) != items)).arg_true():
            found = shown(lists.gather([index]).to_list()[0])
            self.reject(index, name, f"expected a finite number for each of {items[index]} in {beside}, found {found}")
        return lists

    def known(self, name: str, index: TextIndex, file: str) -> pl.Series:
        """Return the numbers of a column of ids; reject rows whose id has none, because ``file`` lacks it."""
        ids = self.ids(name)
        numbers = index.find(ids)
        for row in numbers.is_null().arg_true():
            self.reject(row, name, unknown_id(ids[row], file))
        return numbers

    def distinct(self, frame: pl.DataFrame, name: str, ids: str, index: TextIndex) -> pl.DataFrame:
        """Add the column ``ids`` of ``frame`` to ``index``; return the rows whose id is new, and reject the others."""
        _, is_first = index.add(frame[ids])
        for row, found in frame.filter(~is_first).select("index", ids).iter_rows():
            self.reject(row, name, f"expected ids that differ, found {shown(found)} again")
        return frame.filter(is_first)


def _strings(values: Any) -> pl.Series:
    """Return texts, null where a value is no text or UTF-8 cannot hold it."""
    if isinstance(values, pl.Series) and values.dtype == pl.String:
        return values
    try:
        # Unlike polars, pyarrow turns no number into text.
        return pl.Series(pl.from_arrow(pa.array(list(values), pa.large_string())))
    except (pa.ArrowException, UnicodeEncodeError):
        return pl.Series([value if _is_text(value) else None for value in values], dtype=pl.String)


def _trimmed(texts: pl.Series) -> pl.Series:
    """Return texts without white space at their ends, and empty where nothing of them shows."""
    texts = texts.str.strip_chars(WHITE_SPACE)
    blank = ~texts.str.contains(VISIBLE)
    return texts.set(blank, "") if blank.any() else texts


def _numbers(values: Any) -> pl.Series:
    """Return float64, null where a value is neither a number nor a text that is one."""
    if isinstance(values, pl.Series) and values.dtype.is_numeric():
        return values.cast(pl.Float64)
    if set(map(type, values)) <= {int, float}:
        with suppress(OverflowError):
            return pl.Series(np.array(values, dtype=np.float64))
    if not isinstance(values, pl.Series) or values.dtype != pl.String:
        texts = [None if isinstance(value, bool) else _number_text(value) for value in values]
        values = pl.Series(texts, dtype=pl.String)
    return values.set(~values.str.contains(NUMBER), None).str.strip_chars().cast(pl.Float64, strict=False)


def _number_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value if _is_text(value) else None
    if isinstance(value, int):
        return f"{value}" if value.bit_length() < 1024 else None
    return repr(float(value)) if isinstance(value, float | Decimal) else None


def unknown_id(found: str, file: str) -> str:
    """Return the reason for an id that ``file`` lacks."""
    return f"expected a known id, found {shown(found)}, which {file} lacks"


def list_fault(value: Any, name: str) -> tuple[str, str] | None:
    """Return field and reason where ``value`` is not a list of texts, or of objects with a text in ``text``."""
    if not isinstance(value, list):
        return name, f"expected a list of texts, found {shown(value)}"
    for index, item in enumerate(value):
        place, text = (".text", item.get("text")) if isinstance(item, dict) else ("", item)
        if reason := text_fault(text):
            return f"{name}[{index}]{place}", reason
    return None


def text_fault(value: Any) -> str:
    """Return why ``value`` is no text of use: another type, empty, or not for UTF-8; else nothing."""
    if not isinstance(value, str):
        return f"expected text, found {shown(value)}"
    if not value.strip():
        return "expected text, found an empty one"
    if not _is_text(value):
        return f"expected text in UTF-8, found a stray byte or half a character in {shown(value)}"
    return "" if _trimmed(pl.Series([value]))[0] else f"expected text, found nothing that shows in {shown(value)}"


def _is_text(value: Any) -> bool:
    """Return whether ``value`` is a text that UTF-8 can hold."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def number_fault(value: Any) -> str:
    """Return why ``value`` is no finite number."""
    is_number = isinstance(value, int | float) or (isinstance(value, str) and NOT_FINITE.fullmatch(value))
    is_number = is_number or (isinstance(value, str) and re.match(NUMBER, value, re.ASCII))
    return f"expected a {'finite ' if is_number else ''}number, found {shown(value)}"


def shown(value: Any) -> str:
    """Return ``value`` for a message, cut to a line."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def one_line(text: str) -> str:
    """Return ``text`` as one line of bounded length that UTF-8 can hold, whatever the file put into it."""
    line = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    return line if len(line) <= REASON_CHARACTERS else line[: REASON_CHARACTERS - 1] + "…"
