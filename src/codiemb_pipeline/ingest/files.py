"""Users' files as batches of columns: a broken row is rejected, a file that cannot be read at all is an error.

A row's number is its line in the file, the header of a table being line 1 (the first of its lines where a quoted field
runs over several); parquet rows count from 1. Blocks of sound jsonl and tsv are parsed into columns by pyarrow, which
accepts no number for a text. A block that it refuses is parsed line by line, which gives each broken row its reason; so
is csv, whose quoted fields run over lines.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from codiemb_pipeline.errors import InputError, nearest
from codiemb_pipeline.ingest.compressed import blocks_of, lines_of, suffix_of
from codiemb_pipeline.ingest.validation import Batch, RejectLog, encodes, one_line, shown

FIELD_CHARACTERS = 2**24  # the csv module's own limit is 131,072; documents are longer
BATCH_ROWS, BATCH_CHARACTERS = 50_000, 2**23  # a batch ends at the first of the two
PARQUET_ROWS = 4096
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")

Fault = tuple[int, str, str]
KINDS = {str: pa.large_string(), int: pa.int64()}


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
    numbers: tuple[str, ...] = (),
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
        numbers: those of ``columns`` in which 1 and 1.0 mean the same.
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
        batches = _jsonl(paths, name, log, columns, optional, numbers)
    yield from batches
    if log.rows == before:
        raise InputError(f"{name}: expected rows, found none")


def read_lines(blocks: Iterable[bytes], start: int = 1) -> Iterator[tuple[int, str | Fault]]:
    """Yield (line number, line) of UTF-8 text; a fault in place of a line that is not UTF-8."""
    for number, raw in enumerate(lines_of(blocks), start=start):
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
    paths: list[Path],
    name: str,
    log: RejectLog,
    columns: list[str],
    optional: tuple[str, ...],
    numbers: tuple[str, ...],
) -> Iterator[Batch]:
    number = 1
    for block in blocks_of(paths, name):
        end = number + block.count(b"\n") + (not block.endswith(b"\n"))
        found = _json_columns(block, end - number, columns, optional, numbers)
        if found is None:
            yield from _json_lines(block, number, _Pending(name, log, [*columns, *optional]), columns, optional)
        else:
            log.rows += end - number
            yield Batch(name, range(number, end), found)
        number = end


def _json_columns(
    block: bytes, rows: int, columns: list[str], optional: tuple[str, ...], numbers: tuple[str, ...]
) -> dict[str, pl.Series] | None:
    """Return the columns of a block whose lines are all objects with texts or numbers in them, else ``None``."""
    if not block.startswith(b"{") or block.count(b"}\n{") != rows - 1:
        return None
    try:
        first = json.loads(block[: block.find(b"\n")])
        kinds = {column: KINDS.get(type(first.get(column, ""))) for column in (*columns, *optional)}
        kinds |= {column: pa.float64() for column in numbers if isinstance(first[column], int | float)}
        block.decode()
        table = pa.json.read_json(
            io.BytesIO(block),
            pa.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            pa.json.ParseOptions(
                explicit_schema=pa.schema(kinds),
                unexpected_field_behavior="ignore",
            ),
        )
    except (ValueError, KeyError, TypeError, RecursionError, pa.ArrowException):
        return None
    if len(table) != rows or any(table[column].null_count for column in columns):
        return None
    return _series(table)


def _json_lines(
    block: bytes, start: int, pending: _Pending, columns: list[str], optional: tuple[str, ...]
) -> Iterator[Batch]:
    for number, line in read_lines([block], start):
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
            pending.add(number, values, len(line))
    yield pending.batch()


def _table(
    paths: list[Path], name: str, log: RejectLog, columns: list[str], form: str, header: tuple[str, ...] | None
) -> Iterator[Batch]:
    pending = _Pending(name, log, columns)
    blocks = blocks_of(paths, name)
    start, names = 0, None if header is None else list(header)
    for block in blocks if form == ".tsv" else [blocks]:
        found = _tsv_columns(block, names, columns) if form == ".tsv" and start else None
        if found is not None:
            rows = len(found[columns[0]])
            log.rows += rows
            yield Batch(name, range(start + 1, start + rows + 1), found)
            start += rows
            continue
        lines = _decoded(lines_of([block] if form == ".tsv" else block), mark=not start)
        lines = list(lines) if form == ".tsv" else lines
        records = _records(lines, name, form, start)
        names = next(records, (0, 0, []))[2] if names is None else names
        if not start:
            if not all(encodes(column) for column in names):
                raise InputError(f"{name}: line 1, the header: not UTF-8")
            _check_header(names, columns, name)
        for record in records:
            if _take(record, names, columns, pending):
                yield pending.batch()
        yield pending.batch()
        start += len(lines) if form == ".tsv" else 0


def _tsv_columns(block: bytes, header: list[str], columns: list[str]) -> dict[str, pl.Series] | None:
    """Return the columns of a block of lines that all have the fields of the header, else ``None``."""
    if b"\r" in block or b"\n\n" in block or block.startswith(b"\n"):
        return None
    try:
        table = pa.csv.read_csv(
            io.BytesIO(block),
            pa.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=header),
            pa.csv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False),
            pa.csv.ConvertOptions(column_types=dict.fromkeys(header, pa.large_string()), strings_can_be_null=False),
        )
    except pa.ArrowException:
        return None
    return _series(table.select(columns))


def _series(table: pa.Table) -> dict[str, pl.Series]:
    frame = pl.DataFrame(pl.from_arrow(table))
    return {column: frame[column] for column in frame.columns}


def _take(record: tuple[int, int, list[str] | str], header: list[str], columns: list[str], pending: _Pending) -> bool:
    """Add a record, or reject its lines; return whether the batch is full."""
    first, last, fields = record
    if isinstance(fields, str) or len(fields) != len(header):
        reason = fields if isinstance(fields, str) else f"expected {len(header)} fields, found {len(fields)}"
        # A stray quote swallows the rows after it; each of them counts for the tolerance.
        spans = f"; a quoted field runs from line {first} to {last}" if last > first else ""
        for line in range(first, last + 1):
            pending.reject(line, "(row)", reason + spans)
        return False
    text = "".join(fields)
    if not encodes(text):
        broken = next(index for index, value in enumerate(fields) if not encodes(value))
        pending.reject(first, header[broken], f"not UTF-8: {shown(fields[broken])}")
        return False
    return pending.add(first, tuple([fields[header.index(column)] for column in columns]), len(text))


def _records(lines: Iterable[str], name: str, form: str, start: int) -> Iterator[tuple[int, int, list[str] | str]]:
    """Yield first line, last line, and fields or the fault, of each record after ``start`` lines, but blank ones."""
    csv.field_size_limit(FIELD_CHARACTERS)
    dialect = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if form == ".tsv" else {}
    reader = csv.reader(lines, strict=True, **dialect)
    while True:
        first = start + reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "expected after" not in str(error):
                hint = "; is a quote opened here and never closed?" if form == ".csv" else ""
                raise InputError(f"{name}: row {first}: {error}{hint}") from None
            yield first, start + reader.line_num, f"text after a closing quote ({error})"
        else:
            if fields:
                yield first, start + reader.line_num, fields


def _decoded(lines: Iterator[bytes], *, mark: bool) -> Iterator[str]:
    """Yield lines with their ends; bytes that are not UTF-8 become lone surrogates, and so fault only their field.

    The first line may begin with a byte order ``mark``.
    """
    for raw in lines:
        line = raw.decode("utf-8-sig" if mark else "utf-8", "surrogateescape") + "\n"
        mark = False
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
                    rows = range(number + 1, number + len(part) + 1)
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
