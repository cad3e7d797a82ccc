"""Users' files as rows: a row that can't be read is set aside, a file that can't be read as a whole is an error.

Knows nothing of what a row stands for. A row's number is its line in the file, the header of a table being line 1 (the
first of its lines where a quoted field runs over several); in parquet, which has no lines, rows count from 1. Nothing
is held but the row at hand; gzip and zip are read as they stream.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codiemb_pipeline.errors import InputError, nearest
from codiemb_pipeline.ingest.rows import Ledger, encodes, one_line, shown
from codiemb_pipeline.ingest.streams import form_of, open_bytes

# The csv module refuses fields of over 131,072 characters unless told otherwise; long documents are longer.
FIELD_CHARACTERS = 2**24
PARQUET_BATCH = 2048
FORMS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")

Row = tuple[int, dict[str, Any]]


def check_filled(path: Path, name: str) -> None:
    """Raise InputError when ``path``, which messages call ``name``, is missing or empty."""
    if not path.is_file():
        raise InputError(f"{name}: expected a file, found none")
    if path.stat().st_size == 0:
        raise InputError(f"{name}: expected rows, found an empty file")


def read_rows(
    path: Path | list[Path],
    name: str,
    ledger: Ledger,
    columns: list[str],
    *,
    form: str | None = None,
    header: list[str] | None = None,
) -> Iterator[Row]:
    """Yield (row number, row) of a jsonl, csv, tsv or parquet file.

    Args:
        path: the file, or the files that are its parts.
        name: how messages call it.
        ledger: takes rows that are no rows (not UTF-8, not JSON, too few fields).
        columns: fields that must be there: the header's for tables, every row's for jsonl.
        form: ``.jsonl``, ``.csv``, ``.tsv`` or ``.parquet``; the suffix says it where ``None``.
        header: fields of a table that does not name them; the first line names them where ``None``.

    Raises:
        InputError: the file is missing or empty, has an unknown suffix, its header lacks a column, or it breaks off
            such that what follows can't be told into rows.
    """
    paths = [path] if isinstance(path, Path) else path
    for part in paths:
        check_filled(part, name)
    form = form_of(paths[0]) if form is None else form
    before = ledger.rows
    if form in (".jsonl", ".json"):
        yield from _jsonl(paths, name, ledger, columns)
    elif form in (".csv", ".tsv"):
        yield from _table(paths, name, ledger, columns, form, header)
    elif form == ".parquet":
        yield from _parquet(paths, name, ledger, columns)
    else:
        raise InputError(f"{name}: suffix: expected one of {', '.join(FORMS)}; found {form!r}")
    if ledger.rows == before:
        raise InputError(f"{name}: expected rows, found none")


def read_lines(path: Path | list[Path], name: str, ledger: Ledger) -> Iterator[tuple[int, str]]:
    """Yield (line number, line) of a UTF-8 text file, from 1; lines that are not UTF-8 are rejected."""
    with open_bytes([path] if isinstance(path, Path) else path, name) as file:
        for number, raw in enumerate(file, start=1):
            try:
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                ledger.rows += 1
                ledger.reject(name, number, "(line)", f"not UTF-8 at byte {error.start} of the line")


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
    """Return the content of a file that is one JSON document, a list or an object as ``kind`` says.

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


def _jsonl(paths: list[Path], name: str, ledger: Ledger, columns: list[str]) -> Iterator[Row]:
    for number, line in read_lines(paths, name, ledger):
        if not line.strip():
            continue
        ledger.rows += 1
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            ledger.reject(name, number, "(line)", f"not JSON ({error.msg}, column {error.colno})")
            continue
        except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets thousands deep
            ledger.reject(name, number, "(line)", f"not usable as JSON ({error})")
            continue
        if not isinstance(row, dict):
            ledger.reject(name, number, "(line)", f"expected an object, found {shown(row)}")
            continue
        missing = [column for column in columns if column not in row]
        if missing:
            ledger.reject(name, number, missing[0], f"missing{nearest(missing[0], row)}")
            continue
        yield number, row


def _table(
    paths: list[Path], name: str, ledger: Ledger, columns: list[str], form: str, header: list[str] | None
) -> Iterator[Row]:
    records = _records(paths, name, ledger, form)
    header = next(records, (0, 0, []))[2] if header is None else header
    if not all(encodes(column) for column in header):
        raise InputError(f"{name}: line 1, the header: not UTF-8")
    _check_header(header, columns, name)
    for first, last, fields in records:
        if len(fields) != len(header):
            _reject_lines(ledger, name, first, last, f"expected {len(header)} fields, found {len(fields)}")
            continue
        ledger.rows += 1
        row = dict(zip(header, fields, strict=True))
        broken = [column for column, value in row.items() if not encodes(value)]
        if broken:
            ledger.reject(name, first, broken[0], f"not UTF-8: {shown(row[broken[0]])}")
            continue
        yield first, row


def _records(paths: list[Path], name: str, ledger: Ledger, form: str) -> Iterator[tuple[int, int, list[str]]]:
    """Yield first line, last line and fields of the records of a csv or tsv file; blank lines are none."""
    csv.field_size_limit(FIELD_CHARACTERS)
    # Bytes that are not UTF-8 become lone surrogates, so that they fault their own field and no other.
    with open_bytes(paths, name) as stream:
        file = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
        if form == ".tsv":
            reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
        else:
            reader = csv.reader(file, strict=True)
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
                _reject_lines(ledger, name, first, reader.line_num, f"text after a closing quote ({error})")
                continue
            if fields:
                yield first, reader.line_num, fields


def _reject_lines(ledger: Ledger, name: str, first: int, last: int, reason: str) -> None:
    """Reject a record line by line: a stray quote swallows the rows after it, and each counts for the tolerance."""
    spans = f"; a quoted field runs from line {first} to {last}" if last > first else ""
    for line in range(first, last + 1):
        ledger.rows += 1
        ledger.reject(name, line, "(row)", reason + spans)


def _parquet(paths: list[Path], name: str, ledger: Ledger, columns: list[str]) -> Iterator[Row]:
    number = 0
    try:
        for path in paths:
            with pq.ParquetFile(path) as file:
                _check_header(file.schema_arrow.names, columns, name)
                for batch in file.iter_batches(PARQUET_BATCH):
                    for row in batch.to_pylist():
                        ledger.rows += 1
                        number += 1
                        yield number, row
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: after row {number}: not UTF-8 at byte {error.start} of a text") from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{name}: after row {number}: not readable as parquet ({one_line(str(error))})") from None


def _check_header(header: list[str], columns: list[str], name: str) -> None:
    for column in columns:
        if column not in header:
            raise InputError(f"{name}: column {column!r}: missing {one_line(nearest(column, header))}")
    repeated = [column for column in columns if header.count(column) > 1]
    if repeated:
        raise InputError(f"{name}: column {repeated[0]!r}: expected once, found {header.count(repeated[0])} times")
