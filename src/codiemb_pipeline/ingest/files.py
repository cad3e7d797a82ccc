"""Users' files as batches of columns: a broken row is rejected, a file that cannot be read at all is an error.

Text comes plain, in gzip or in zip, and perhaps cut into parts; it is read in blocks, and nothing is unpacked to disk.
A row's number is its line, the header of a table being line 1 (the first of its lines where a quoted field runs over
several); parquet rows count from 1. A byte that is not UTF-8 becomes a lone surrogate, which the check of its field
rejects.
"""

import codecs
import csv
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from codiemb_pipeline.artifacts.ingest import BATCH_ROWS, parquet_batches
from codiemb_pipeline.errors import InputError, nearest
from codiemb_pipeline.ingest.validation import Batch, Fault, RejectLog, one_line, shown

BLOCK_BYTES = 2**23
FIELD_CHARACTERS = 2**24  # the csv module's own limit is 131,072; documents are longer
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")

Record = tuple[int, int, list[str] | str]  # of a table: first line, last line; fields, or the reason why there are none


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
    least: int = 1,
) -> Iterator[Batch]:
    """Yield the rows of a jsonl, csv, tsv or parquet file; the rejected rows of a batch are logged after its use.

    Args:
        paths: the file, or the files that are its parts.
        name: what messages call it.
        log: takes the number of rows and those rejected.
        columns: fields that must be there: in the header of a table, in every row of a jsonl.
        optional: fields of a jsonl or parquet file that may be missing, and are ``None`` then.
        form: the suffix that names the format, where it is not that of the file.
        header: column names of a table that does not name them in its first line.
        least: the fewest rows that there must be: sound and rejected ones, without header and blank lines.

    Raises:
        InputError: the file is missing or empty, has an unknown suffix, lacks a column or rows, or is broken such that
            the rows after the fault cannot be found.
    """
    for path in paths:
        check_filled(path, name)
    form = form or _suffix_of(paths[0], name)
    if form not in SUFFIXES:
        raise InputError(f"{name}: suffix: expected one of {', '.join(SUFFIXES)}; found {form!r}")
    if form == ".parquet":
        batches = _parquet(paths, name, columns, optional)
    elif form == ".csv":
        batches = _csv(paths, name, columns, header)
    elif form == ".tsv":
        batches = _tsv(paths, name, columns, header)
    else:
        batches = _jsonl(paths, name, columns, optional)
    before = log.rows
    for batch in batches:
        yield batch
        batch.close(log)
    if log.rows == before:
        raise InputError(f"{name}: expected rows, found none")
    if (found := log.rows - before) < least:
        raise InputError(f"source {log.source!r}: {name}: expected at least {least:,} rows, found {found:,}")


def read_lines(paths: list[Path], name: str) -> Iterator[tuple[int, str]]:
    """Yield number and content of each line of text files read as if they were one.

    Raises:
        InputError: a file is missing, empty, broken or incomplete; the message calls it ``name``.
    """
    for path in paths:
        check_filled(path, name)
    for first, block in _numbered_blocks(paths, name):
        yield from _lines(block, first)


def read_document(path: Path, name: str, kind: type) -> Any:
    """Return the content of a file that is one JSON document, a list or an object according to ``kind``.

    Raises:
        InputError: it is missing, empty, not UTF-8, not JSON, or of another kind.
    """
    check_filled(path, name)
    try:
        value = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise InputError(f"{name}: line {error.lineno}, column {error.colno}: not JSON ({error.msg})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: not UTF-8 at byte {error.start} of the file") from None
    if not isinstance(value, kind):
        raise InputError(f"{name}: expected a JSON {kind.__name__}, found {type(value).__name__}")
    return value


def _blocks(paths: list[Path], name: str) -> Iterator[bytes]:
    """Yield blocks of whole lines, without a byte order mark; another thread reads and decompresses the next one."""
    with ThreadPoolExecutor(1) as thread:
        blocks = _read(paths, name)
        following = thread.submit(next, blocks, None)
        while (block := following.result()) is not None:
            following = thread.submit(next, blocks, None)
            yield block


def _read(paths: list[Path], name: str) -> Iterator[bytes]:
    rest, mark = b"", codecs.BOM_UTF8
    for path in paths:
        try:
            with _opened(path, name) as file:
                while block := file.read(BLOCK_BYTES):
                    lines, end, after = (rest + block.removeprefix(mark)).rpartition(b"\n")
                    mark, rest = b"", after
                    if end:
                        yield lines + end
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile, pa.ArrowException) as error:
            raise InputError(f"{name}: not readable, broken or incomplete ({one_line(str(error))})") from None
    if rest:
        yield rest


def _opened(path: Path, name: str) -> BinaryIO | pa.NativeFile:
    if path.suffix == ".zip":
        return zipfile.ZipFile(path).open(_member(path, name))
    return pa.input_stream(path)  # decompresses gzip


def _member(path: Path, name: str) -> str:
    """Return the name of the file in a zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    except zipfile.BadZipFile as error:
        raise InputError(f"{name}: not readable as zip ({error})") from None
    if len(names) != 1:
        raise InputError(f"{name}: expected one file in the zip, found {len(names)}")
    return names[0]


def _suffix_of(path: Path, name: str) -> str:
    """Return the suffix of the content: the one below ``.gz``, or that of the file inside a zip."""
    if path.suffix == ".zip":
        return PurePath(_member(path, name)).suffix
    return PurePath(path.stem).suffix if path.suffix == ".gz" else path.suffix


def _numbered_blocks(paths: list[Path], name: str) -> Iterator[tuple[int, bytes]]:
    """Yield blocks whose lines end with a line feed, each with the number of its first line."""
    first = 1
    for block in _blocks(paths, name):
        lines = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in block else block
        yield first, lines
        first += _line_feeds(lines)


def _line_feeds(block: bytes) -> int:
    return np.count_nonzero(np.frombuffer(block, np.uint8) == ord("\n"))  # five times as fast as bytes.count


def _text(block: bytes) -> str:
    return block.decode("utf-8", "surrogateescape")


def _lines(block: bytes, first: int) -> Iterator[tuple[int, str]]:
    return enumerate(_text(block).removesuffix("\n").split("\n"), first)


def _jsonl(paths: list[Path], name: str, columns: list[str], optional: tuple[str, ...]) -> Iterator[Batch]:
    """Yield the rows of each block, parsed at once; line by line where the block holds anything but sound rows."""
    wanted = set(columns)
    for first, block in _numbered_blocks(paths, name):
        rows, faults = _json_objects(_text(block)), []
        numbers = range(first, first + len(rows))
        if not rows or not all(row.keys() >= wanted for row in rows):
            numbers, rows, faults = _json_rows(_lines(block, first), columns)
        values = {column: [row.get(column) for row in rows] for column in (*columns, *optional)}
        yield Batch(name, numbers, values, faults)


def _json_objects(text: str) -> list[dict[str, Any]]:
    """Return the objects of lines that hold one each; no objects where a line does not."""
    decode = json.JSONDecoder().raw_decode
    rows, place = [], 0
    try:
        while text.startswith("{", place):
            row, end = decode(text, place)
            rows.append(row)
            if not text.startswith("\n", end):
                break
            place = end + 1
    except (ValueError, RecursionError):
        return []
    lines = text.count("\n") + (not text.endswith("\n"))
    return rows if len(rows) == lines and text[end:] in ("", "\n") else []


def _json_rows(
    lines: Iterable[tuple[int, str]], columns: list[str]
) -> tuple[list[int], list[dict[str, Any]], list[Fault]]:
    """Return numbers and content of the sound rows among ``lines``, and the faults of the others."""
    rows: dict[int, dict[str, Any]] = {}
    faults = []
    for number, line in lines:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            faults.append((number, "(line)", f"not JSON ({error.msg}, column {error.colno})"))
            continue
        except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets thousands deep
            faults.append((number, "(line)", f"not usable as JSON ({error})"))
            continue
        if not isinstance(row, dict):
            faults.append((number, "(line)", f"expected an object, found {shown(row)}"))
        elif missing := [column for column in columns if column not in row]:
            faults.append((number, missing[0], f"missing{nearest(missing[0], row)}"))
        else:
            rows[number] = row
    return list(rows), list(rows.values()), faults


def _tsv(paths: list[Path], name: str, columns: list[str], header: Sequence[str] | None) -> Iterator[Batch]:
    """Yield the rows of each block, parsed at once or line by line, split at tabs; quotes are plain characters."""
    for first, block in _numbered_blocks(paths, name):
        start, rest = first, block
        if header is None:
            line, _, rest = block.partition(b"\n")
            start, header = 2, _text(line).split("\t")
        _check_header(header, columns, name)
        found = _tsv_columns(rest, header)
        if found is not None:
            yield Batch(name, range(start, start + len(found)), {column: found[column] for column in columns})
        else:
            records = ((number, number, line.split("\t")) for number, line in _lines(rest, start) if line)
            yield _table_batch(records, name, columns, header)


def _tsv_columns(block: bytes, header: Sequence[str]) -> pl.DataFrame | None:
    """Return the fields of lines that have as many as the header, else ``None``."""
    try:
        schema = dict.fromkeys(header, pl.String)
        found = pl.read_csv(block, separator="\t", quote_char=None, has_header=False, schema=schema)
    except pl.exceptions.PolarsError:
        return None
    # Missing fields are null like empty ones, and a line that lacks some lacks the last.
    if found[:, -1].null_count() or len(found) != _line_feeds(block) + (not block.endswith(b"\n")):
        return None
    return found.fill_null("")


def _csv(paths: list[Path], name: str, columns: list[str], header: Sequence[str] | None) -> Iterator[Batch]:
    """Yield the rows of a table whose quoted fields may run over lines and blocks."""
    records = _csv_records(paths, name)
    header = next(records, (0, 0, []))[2] if header is None else header
    _check_header(header, columns, name)
    while part := list(islice(records, BATCH_ROWS)):
        yield _table_batch(part, name, columns, header)


def _csv_records(paths: list[Path], name: str) -> Iterator[Record]:
    csv.field_size_limit(FIELD_CHARACTERS)
    lines = (line for block in _blocks(paths, name) for line in io.StringIO(_text(block), newline=""))
    reader = csv.reader(lines, strict=True)
    while True:
        first = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "expected after" not in str(error):
                hint = "is a quote opened here and never closed?"
                raise InputError(f"{name}: row {first}: {error}; {hint}") from None
            yield first, reader.line_num, f"text after a closing quote ({error})"
        else:
            if fields:
                yield first, reader.line_num, fields


def _table_batch(records: Iterable[Record], name: str, columns: list[str], header: Sequence[str]) -> Batch:
    """Return records as columns; those of another number of fields than the header are rejected."""
    rows: dict[int, list[str]] = {}
    faults = []
    for first, last, fields in records:
        if isinstance(fields, list) and len(fields) == len(header):
            rows[first] = fields
            continue
        reason = fields if isinstance(fields, str) else f"expected {len(header)} fields, found {len(fields)}"
        # A stray quote swallows the rows after it; each of them counts for the tolerance.
        spans = f"; a quoted field runs from line {first} to {last}" if last > first else ""
        faults += [(line, "(row)", reason + spans) for line in range(first, last + 1)]
    places = {column: header.index(column) for column in columns}
    values = {column: [fields[place] for fields in rows.values()] for column, place in places.items()}
    return Batch(name, list(rows), values, faults)


def _parquet(paths: list[Path], name: str, columns: list[str], optional: tuple[str, ...]) -> Iterator[Batch]:
    number = 0
    try:
        for path in paths:
            names = pq.read_schema(path).names
            _check_header(names, columns, name)
            wanted = [*columns, *(column for column in optional if column in names)]
            for part in parquet_batches(path, wanted):
                part.validate(full=True)
                series = {column: pl.Series(pl.from_arrow(part[column])) for column in wanted}
                missing = {column: [None] * len(part) for column in optional if column not in names}
                yield Batch(name, range(number + 1, number + len(part) + 1), series | missing)
                number += len(part)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{name}: after row {number}: not readable as parquet ({one_line(str(error))})") from None


def _check_header(header: Sequence[str], columns: list[str], name: str) -> None:
    for column in columns:
        if column not in header:
            raise InputError(f"{name}: column {column!r}: missing {one_line(nearest(column, header))}")
        if header.count(column) > 1:
            raise InputError(f"{name}: column {column!r}: expected once, found {header.count(column)} times")
