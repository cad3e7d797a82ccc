"""Users' files as batches of columns: a broken row is rejected, a file that cannot be read at all is an error.

A row's number is its line in the file, the header of a table being line 1 (the first of its lines where a quoted field
runs over several); parquet rows count from 1. jsonl and csv are parsed line by line, because polars reads a number as a
text and names no broken row; everything after that works on columns.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from codiemb_pipeline.errors import InputError, nearest
from codiemb_pipeline.ingest.compressed import lines_of, suffix_of
from codiemb_pipeline.ingest.validation import Batch, RejectLog, encodes, one_line, shown

FIELD_CHARACTERS = 2**24  # the csv module's own limit is 131,072; documents are longer
BATCH_ROWS, BATCH_CHARACTERS = 50_000, 2**23  # a batch ends at the first of the two
PARQUET_ROWS = 4096
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")

Fault = tuple[int, str, str]


def check_filled(path: Path, name: str) -> None:
    """Raise InputError when ``path``, which messages call ``name``, is missing or empty."""
    if not path.is_file():
        raise InputError(f"{name}: expected a file, found none")
    if path.stat().st_size == 0:
        raise InputError(f"{name}: expected rows, found an empty file")


def read_batches(
    paths: list[Path],
    name: str,
    log: RejectLog,
    columns: list[str],
    *,
    optional: tuple[str, ...] = (),
    form: str | None = None,
    header: tuple[str, ...] | None = None,
) -> Iterator[Batch]:
    """Yield the rows of a jsonl, csv, tsv or parquet file. Whoever takes a batch closes it.

    Args:
        paths: the file, or the files that are its parts.
        name: what messages call it.
        log: counts the rows.
        columns: fields that must be there: in the header of a table, in every row of a jsonl.
        optional: fields that may be missing, and are ``None`` then.
        form: the suffix that names the format, where it is not that of the file.
        header: column names of a table that does not name them in its first line.

    Raises:
        InputError: the file is missing or empty, has an unknown suffix, lacks a column, or is broken such that the
            rows after the fault cannot be found.
    """
    for path in paths:
        check_filled(path, name)
    form = form or suffix_of(paths[0])
    if form not in SUFFIXES:
        raise InputError(f"{name}: suffix: expected one of {', '.join(SUFFIXES)}; found {form!r}")
    before = log.rows
    if form == ".parquet":
        batches = _parquet(paths, name, log, columns, optional)
    elif form in (".csv", ".tsv"):
        batches = _table(paths, name, log, columns, form, header)
    else:
        batches = _jsonl(paths, name, log, columns, optional)
    yield from batches
    if log.rows == before:
        raise InputError(f"{name}: expected rows, found none")


def read_lines(paths: list[Path], name: str) -> Iterator[tuple[int, str | Fault]]:
    """Yield (line number, line) of a UTF-8 text file, from 1; a fault in place of a line that is not UTF-8."""
    for number, raw in enumerate(lines_of(paths, name), start=1):
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r")
        except UnicodeDecodeError as error:
            yield number, (number, "(line)", f"not UTF-8 at byte {error.start} of the line")


def read_text(path: Path, name: str) -> str:
    """Return the whole of a UTF-8 text file.

    Raises:
        InputError: it is missing, empty, or not UTF-8; names line and byte.
    """
    check_filled(path, name)
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{name}: line {line}: not UTF-8 at byte {error.start} of the file") from None


def read_document(path: Path, name: str, kind: type) -> Any:
    """Return the content of a file that is one JSON document, a list or an object according to ``kind``.

    Raises:
        InputError: it is missing, empty, not UTF-8, not JSON, or of another kind.
    """
    try:
        value = json.loads(read_text(path, name))
    except json.JSONDecodeError as error:
        raise InputError(f"{name}: line {error.lineno}, column {error.colno}: not JSON ({error.msg})") from None
    if not isinstance(value, kind):
        raise InputError(f"{name}: expected a JSON {kind.__name__}, found {type(value).__name__}")
    return value


class _Pending:
    """Rows on their way into a batch."""

    def __init__(self, name: str, log: RejectLog, columns: list[str]) -> None:
        self._name, self._log, self._columns = name, log, columns
        self._clear()

    def _clear(self) -> None:
        self._numbers: list[int] = []
        self._values: list[tuple[Any, ...]] = []
        self._faults: list[Fault] = []
        self._characters = 0

    def reject(self, row: int, field: str, reason: str) -> None:
        self._log.rows += 1
        self._faults.append((row, field, reason))

    def add(self, number: int, values: tuple[Any, ...], size: int) -> bool:
        """Add a row; return whether the batch is full."""
        self._log.rows += 1
        self._numbers.append(number)
        self._values.append(values)
        self._characters += size
        return len(self._numbers) >= BATCH_ROWS or self._characters >= BATCH_CHARACTERS

    def batch(self) -> Batch:
        lists = map(list, zip(*self._values, strict=True)) if self._values else ([] for _ in self._columns)
        columns = dict(zip(self._columns, lists, strict=True))
        batch = Batch(self._name, self._numbers, columns, self._faults)
        self._clear()
        return batch


def _jsonl(
    paths: list[Path], name: str, log: RejectLog, columns: list[str], optional: tuple[str, ...]
) -> Iterator[Batch]:
    pending = _Pending(name, log, [*columns, *optional])
    for number, line in read_lines(paths, name):
        if not isinstance(line, str):
            pending.reject(*line)
            continue
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            values = tuple([row[column] for column in columns] + [row.get(column) for column in optional])
        except json.JSONDecodeError as error:
            pending.reject(number, "(line)", f"not JSON ({error.msg}, column {error.colno})")
        except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets thousands deep
            pending.reject(number, "(line)", f"not usable as JSON ({error})")
        except (KeyError, TypeError, AttributeError):
            if isinstance(row, dict):
                missing = next(column for column in columns if column not in row)
                pending.reject(number, missing, f"missing{nearest(missing, row)}")
            else:
                pending.reject(number, "(line)", f"expected an object, found {shown(row)}")
        else:
            if pending.add(number, values, len(line)):
                yield pending.batch()
    yield pending.batch()


def _table(
    paths: list[Path], name: str, log: RejectLog, columns: list[str], form: str, header: tuple[str, ...] | None
) -> Iterator[Batch]:
    records = _records(paths, name, form)
    header = list(next(records, (0, 0, []))[2] if header is None else header)
    if not all(encodes(column) for column in header):
        raise InputError(f"{name}: line 1, the header: not UTF-8")
    _check_header(header, columns, name)
    pending = _Pending(name, log, columns)
    indices = [header.index(column) for column in columns]
    for first, last, fields in records:
        if isinstance(fields, str) or len(fields) != len(header):
            reason = fields if isinstance(fields, str) else f"expected {len(header)} fields, found {len(fields)}"
            # A stray quote swallows the rows after it; each of them counts for the tolerance.
            spans = f"; a quoted field runs from line {first} to {last}" if last > first else ""
            for line in range(first, last + 1):
                pending.reject(line, "(row)", reason + spans)
            continue
        record = "".join(fields)
        if not record.isascii() and not encodes(record):
            broken = next(index for index, value in enumerate(fields) if not encodes(value))
            pending.reject(first, header[broken], f"not UTF-8: {shown(fields[broken])}")
        elif pending.add(first, tuple([fields[index] for index in indices]), len(record)):
            yield pending.batch()
    yield pending.batch()


def _records(paths: list[Path], name: str, form: str) -> Iterator[tuple[int, int, list[str] | str]]:
    """Yield first line, last line, and fields or what is wrong, of each record of a csv or tsv file but blank lines."""
    csv.field_size_limit(FIELD_CHARACTERS)
    lines = _decoded(lines_of(paths, name))
    if form == ".tsv":
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    else:
        reader = csv.reader(lines, strict=True)
    while True:
        first = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "expected after" not in str(error):
                hint = "; is a quote opened here and never closed?" if form == ".csv" else ""
                raise InputError(f"{name}: row {first}: {error}{hint}") from None
            yield first, reader.line_num, f"text after a closing quote ({error})"
        else:
            if fields:
                yield first, reader.line_num, fields


def _decoded(lines: Iterator[bytes]) -> Iterator[str]:
    """Yield lines with their ends; bytes that are not UTF-8 become lone surrogates, and so fault only their field."""
    encoding = "utf-8-sig"
    for raw in lines:
        line = raw.decode(encoding, "surrogateescape") + "\n"
        encoding = "utf-8"
        if "\r" in line:
            yield from io.StringIO(line, newline="")
        else:
            yield line


def _parquet(
    paths: list[Path], name: str, log: RejectLog, columns: list[str], optional: tuple[str, ...]
) -> Iterator[Batch]:
    number = 0
    try:
        for path in paths:
            with pq.ParquetFile(path) as file:
                names = file.schema_arrow.names
                _check_header(names, columns, name)
                wanted = [*columns, *(column for column in optional if column in names)]
                for part in file.iter_batches(PARQUET_ROWS, columns=wanted):
                    part.validate(full=True)
                    series = {column: pl.Series(pl.from_arrow(part[column])) for column in wanted}
                    missing = {column: [None] * len(part) for column in optional if column not in names}
                    rows = list(range(number + 1, number + len(part) + 1))
                    log.rows += len(part)
                    yield Batch(name, rows, series | missing)
                    number += len(part)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{name}: after row {number}: not readable as parquet ({one_line(str(error))})") from None


def _check_header(header: list[str], columns: list[str], name: str) -> None:
    for column in columns:
        if column not in header:
            raise InputError(f"{name}: column {column!r}: missing {one_line(nearest(column, header))}")
        if header.count(column) > 1:
            raise InputError(f"{name}: column {column!r}: expected once, found {header.count(column)} times")
