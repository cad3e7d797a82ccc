"""Users' files as batches of columns: a broken row is rejected, a file that cannot be read at all is an error.

A row's number is its line, the header of a table being line 1 (the first of its lines where a quoted field runs over
several); parquet rows and the items of a JSON list count from 1. A byte that is not UTF-8 becomes a lone surrogate,
which the check of its field rejects. Of a table only the columns asked for are read.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from codiemb_pipeline.artifacts.ingest import BATCH_ROWS, parquet_batches
from codiemb_pipeline.errors import InputError, nearest
from codiemb_pipeline.ingest.compressed import blocks, content, head, is_compressed, suffix_of
from codiemb_pipeline.ingest.folders import COMPRESSED, SUFFIXES
from codiemb_pipeline.ingest.records import FIELD_CHARACTERS, Record, all_unquoted, settle, tab_records, unquoted
from codiemb_pipeline.ingest.validation import Batch, Fault, RejectLog, one_line, shown
from codiemb_pipeline.progress import ProgressBar

LIST = re.compile(rb"\s*\[\s*[{\]]")
SPACE = re.compile(r"[ \t\n\r]*")
ITEM_CHARACTERS = 2**26  # the longest item of a JSON list


def check_filled(path: Path, name: str) -> None:
    """Raise InputError when ``path``, which messages call ``name``, is missing, a folder or empty."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "none"
        raise InputError(f"{name}: expected a file, found {found}")
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
    quotes: bool = False,
) -> Iterator[Batch]:
    """Yield the rows of a jsonl, csv, tsv or parquet file; the rejected rows of a batch are logged after its use.

    Args:
        paths: the file, or the files that are its parts.
        name: what messages call it.
        log: takes the files, the number of rows and those rejected.
        columns: fields that must be there: in the header of a table, in every row of a jsonl.
        optional: fields that may be missing, and are ``None`` then.
        form: the suffix that names the format, where it is not that of the file.
        header: column names of a table that does not name them in its first line.
        least: the fewest rows that there must be: sound and rejected ones, without header and blank lines.
        quotes: whether fields of a tsv may be in quotes, as pandas writes them; otherwise quotes are plain characters.

    Raises:
        InputError: the file is missing or empty, has an unknown suffix, lacks a column or rows, or is broken such that
            the rows after the fault cannot be found.
    """
    for path in paths:
        check_filled(path, name)
    log.files.update(paths)
    before = log.rows
    with ProgressBar(desc=f"read {name}", unit="rows") as bar:
        for batch in _batches(paths, name, columns, optional, form or suffix_of(paths[0], name), header, quotes):
            for column in optional:
                batch.columns.setdefault(column, [None] * len(batch.rows))
            yield batch
            batch.close(log)
            bar.update(len(batch.rows))
    if log.rows == before:
        raise InputError(f"{name}: expected rows, found none")
    if (found := log.rows - before) < least:
        raise InputError(f"source {log.source!r}: {name}: expected at least {least:,} rows, found {found:,}")


def _batches(
    paths: list[Path],
    name: str,
    columns: list[str],
    optional: tuple[str, ...],
    form: str,
    header: tuple[str, ...] | None,
    quotes: bool,
) -> Iterator[Batch]:
    if form == ".parquet":
        return _parquet(paths, name, columns, optional)
    if form == ".csv":
        return _csv(paths, name, columns, optional, header)
    if form == ".tsv":
        return _tsv(paths, name, columns, optional, header, quotes)
    if form in (".json", ".jsonl"):
        return _json(paths, name, columns, optional)
    expected = f"expected one of {', '.join(SUFFIXES)}, plain or with {', '.join(COMPRESSED)}"
    raise InputError(f"{name}: suffix: {expected}; found {form!r}")


def read_lines(path: Path, name: str, log: RejectLog) -> Iterator[tuple[int, str]]:
    """Yield number and content of each line of a text file.

    Raises:
        InputError: it is missing, empty, broken or incomplete; the message calls it ``name``.
    """
    check_filled(path, name)
    log.files.add(path)
    for first, block in _numbered_blocks([path], name):
        yield from _lines(block, first)


def read_document(path: Path, name: str, kind: type, log: RejectLog) -> Any:
    """Return the content of a file that is one JSON document, a list or an object according to ``kind``.

    Raises:
        InputError: it is missing, empty, not UTF-8, not JSON, has a key twice in an object, or is of another kind.
    """
    check_filled(path, name)
    log.files.add(path)
    decoder, repeated = _decoder()
    try:
        value = decoder.decode(content(path, name).decode())
    except json.JSONDecodeError as error:
        raise InputError(f"{name}: line {error.lineno}, column {error.colno}: not JSON ({error.msg})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: not UTF-8 at byte {error.start} of the file") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: not usable as JSON ({error})") from None
    if repeated:
        raise InputError(f"{name}: expected each key once in an object, found {shown(repeated[0])} twice")
    if not isinstance(value, kind):
        raise InputError(f"{name}: expected a JSON {kind.__name__}, found {type(value).__name__}")
    return value


def _numbered_blocks(paths: list[Path], name: str) -> Iterator[tuple[int, bytes]]:
    """Yield blocks whose lines end with a line feed, each with the number of its first line."""
    first = 1
    for block in _line_blocks(paths, name):
        yield first, block
        first += _line_feeds(block)


def _line_blocks(paths: list[Path], name: str) -> Iterator[bytes]:
    """Yield blocks whose lines end with a line feed."""
    for block in blocks(paths, name):
        yield block.replace(b"\r\n", b"\n") if b"\r" in block else block


def _line_feeds(block: bytes) -> int:
    return int(np.count_nonzero(np.frombuffer(block, np.uint8) == ord("\n")))  # five times as fast as bytes.count


def _text(block: bytes) -> str:
    return block.decode("utf-8", "surrogateescape")


def _lines(block: bytes, first: int) -> Iterator[tuple[int, str]]:
    return enumerate(_text(block).removesuffix("\n").split("\n"), first)


def _json(paths: list[Path], name: str, columns: list[str], optional: tuple[str, ...]) -> Iterator[Batch]:
    """Yield the rows of files with an object a line, or of a file that is one list of objects."""
    start = head(paths[0], name)
    if LIST.match(start):
        yield from _json_list(paths, name, columns, optional)
    elif start.split(b"\n")[0].strip() == b"{":
        raise InputError(f"{name}: expected an object a line, or a list of objects; found an object over several lines")
    else:
        yield from _json_lines(paths, name, columns, optional)


def _json_lines(paths: list[Path], name: str, columns: list[str], optional: tuple[str, ...]) -> Iterator[Batch]:
    """Yield the rows of each block, parsed at once; line by line where the block holds anything but sound rows."""
    wanted = set(columns)
    for first, block in _numbered_blocks(paths, name):
        rows, faults = _json_objects(_text(block)), []
        numbers = range(first, first + len(rows))
        if not rows or not all(row.keys() >= wanted for row in rows):
            numbers, rows, faults = _json_rows(_lines(block, first), columns)
        yield _json_batch(name, numbers, rows, faults, (*columns, *optional))


def _json_batch(
    name: str, numbers: Sequence[int], rows: list[dict[str, Any]], faults: list[Fault], columns: Iterable[str]
) -> Batch:
    return Batch(name, numbers, {column: [row.get(column) for row in rows] for column in columns}, faults)


def _decoder() -> tuple[json.JSONDecoder, list[str]]:
    """Return a decoder, and the list to which it adds each key that an object has twice."""
    repeated: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        row = dict(pairs)
        if len(row) != len(pairs):
            keys = [key for key, _ in pairs]
            repeated.extend(key for key in row if keys.count(key) > 1)
        return row

    return json.JSONDecoder(object_pairs_hook=once), repeated


def _json_objects(text: str) -> list[dict[str, Any]]:
    """Return the objects of lines that hold one each; no objects where a line does not, or a key stands twice."""
    decoder, repeated = _decoder()
    decode, rows, place = decoder.raw_decode, [], 0
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
    return rows if len(rows) == lines and text[end:] in ("", "\n") and not repeated else []


def _json_rows(
    lines: Iterable[tuple[int, str]], columns: list[str]
) -> tuple[list[int], list[dict[str, Any]], list[Fault]]:
    """Return numbers and content of the sound rows among ``lines``, and the faults of the others."""
    rows: dict[int, dict[str, Any]] = {}
    faults = []
    decoder, repeated = _decoder()
    for number, line in lines:
        if not line.strip():
            continue
        repeated.clear()
        try:
            row = decoder.decode(line)
        except json.JSONDecodeError as error:
            faults.append((number, "(line)", f"not JSON ({error.msg}, column {error.colno})"))
            continue
        except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets thousands deep
            faults.append((number, "(line)", f"not usable as JSON ({error})"))
            continue
        if fault := _row_fault(row, columns, repeated):
            faults.append((number, *fault))
        else:
            rows[number] = row
    return list(rows), list(rows.values()), faults


def _row_fault(row: Any, columns: list[str], repeated: list[str]) -> tuple[str, str] | None:
    if not isinstance(row, dict):
        return "(line)", f"expected an object, found {shown(row)}"
    if repeated:
        return repeated[0], "expected each key once in an object, found it twice"
    if missing := [column for column in columns if column not in row]:
        return missing[0], f"missing{nearest(missing[0], row)}"
    return None


def _json_list(paths: list[Path], name: str, columns: list[str], optional: tuple[str, ...]) -> Iterator[Batch]:
    decoder, repeated = _decoder()
    items = enumerate(_items(map(_text, blocks(paths, name, b",")), name, decoder.raw_decode), start=1)
    while True:
        rows: dict[int, dict[str, Any]] = {}
        faults = []
        for number, row in islice(items, BATCH_ROWS):
            if fault := _row_fault(row, columns, repeated):
                faults.append((number, *fault))
            else:
                rows[number] = row
            repeated.clear()
        if not rows and not faults:
            return
        yield _json_batch(name, list(rows), list(rows.values()), faults, (*columns, *optional))


def _items(texts: Iterator[str], name: str, decode: Callable[[str, int], tuple[Any, int]]) -> Iterator[Any]:
    """Yield the items of a list that comes in pieces of text.

    Raises:
        InputError: it is no JSON from an item on; names the item.
    """
    text = next(texts)
    place, number, after_item = text.index("[") + 1, 0, False
    while True:
        place = SPACE.match(text, place).end()
        expected, fault = ("a comma or the end of the list" if after_item else "an object"), ""
        if text.startswith("]", place) and (after_item or not number):
            break
        if after_item and text.startswith(",", place):
            place, after_item = place + 1, False
            continue
        if not after_item and place < len(text):
            try:
                item, place = decode(text, place)
            except (ValueError, RecursionError) as error:
                fault = f" ({getattr(error, 'msg', error)})"
            else:
                number, after_item = number + 1, True
                yield item
                continue
        more = "" if (after_item and place < len(text)) or len(text) - place > ITEM_CHARACTERS else next(texts, "")
        if not more:
            found = shown(text[place : place + 40]) if place < len(text) else "the end of the file"
            raise InputError(f"{name}: item {number + 1} of the list: expected {expected}, found {found}{fault}")
        text, place = text[place:] + more, 0
    rest = text[place + 1 :].strip() or "".join(islice(texts, 1)).strip()
    if rest:
        raise InputError(f"{name}: expected nothing after the list of {number} items, found {shown(rest[:40])}")


def _tsv(
    paths: list[Path],
    name: str,
    columns: list[str],
    optional: tuple[str, ...],
    header: Sequence[str] | None,
    quotes: bool,
) -> Iterator[Batch]:
    """Yield the rows of each block, parsed at once, or record by record where a line has not as many fields.

    The last lines wait for the next block: they may go on there.
    """
    held, first = b"", 1
    for block in _line_blocks(paths, name):
        start = 0
        if header is None:
            start = block.find(b"\n") + 1 or len(block)
            line = _text(block[:start]).removesuffix("\n")
            header, first = [unquoted(field) if quotes else field for field in line.split("\t")], 2
        cut = max(start, block.rfind(b"\n", 0, max(len(block) - 1, 0)) + 1)
        lines, last = b"".join((held, memoryview(block)[start:cut])), block[cut:]
        wanted = _wanted(header, columns, optional, name)
        found = _tsv_columns(lines, header) if last.count(b"\t") == len(header) - 1 else None
        if found is not None:
            values = {column: all_unquoted(found[column]) if quotes else found[column] for column in wanted}
            yield Batch(name, range(first, first + len(found)), values)
            held, first = last, first + len(found)
        else:
            batch, held, first = _tab_batch(lines + last, first, name, wanted, header, quotes=quotes, final=False)
            yield batch
    if held:
        yield _tab_batch(held, first, name, wanted, header, quotes=quotes, final=True)[0]


def _tab_batch(
    block: bytes, first: int, name: str, columns: list[str], header: Sequence[str], *, quotes: bool, final: bool
) -> tuple[Batch, bytes, int]:
    """Return the settled records of a block, the lines of the others, and the number of the first of these."""
    text = _text(block)
    records, taken = tab_records(text, first, len(header), quotes=quotes, final=final)
    rows, faults, settled = settle(records, len(header), final=final)
    batch = _table_batch(rows, faults, name, columns, header)
    following = first + text.count("\n", 0, taken)
    if settled < len(records):
        following = records[settled][0]
        lines = text.split("\n", following - first)
        return batch, lines[-1].encode("utf-8", "surrogateescape"), following
    return batch, text[taken:].encode("utf-8", "surrogateescape"), following


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


def _csv(
    paths: list[Path], name: str, columns: list[str], optional: tuple[str, ...], header: Sequence[str] | None
) -> Iterator[Batch]:
    """Yield the rows of a table whose quoted fields may run over lines and blocks."""
    records = _csv_records(paths, name)
    header = next(records, (0, 0, []))[2] if header is None else header
    wanted = _wanted(header, columns, optional, name)
    held: list[Record] = []
    while part := list(islice(records, BATCH_ROWS)):
        rows, faults, settled = settle([*held, *part], len(header), final=False)
        yield _table_batch(rows, faults, name, wanted, header)
        held = [*held, *part][settled:]
    rows, faults, _ = settle(held, len(header), final=True)
    yield _table_batch(rows, faults, name, wanted, header)


def _csv_records(paths: list[Path], name: str) -> Iterator[Record]:
    csv.field_size_limit(FIELD_CHARACTERS)
    # Lines end on a line feed alone: the csv module refuses a record with a stray carriage return.
    lines = (line for block in blocks(paths, name) for line in io.StringIO(_text(block), newline="\n"))
    reader = csv.reader(lines, strict=True)
    while True:
        first = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "expected after" in str(error):
                yield first, reader.line_num, f"text after a closing quote ({error})"
            elif "new-line" in str(error):
                yield first, reader.line_num, "a carriage return that is neither in quotes nor the end of a line"
            else:
                hint = "is a quote opened here and never closed?"
                raise InputError(f"{name}: row {first}: {error}; {hint}") from None
        else:
            if fields:
                yield first, reader.line_num, fields


def _table_batch(
    rows: dict[int, list[str]], faults: list[Fault], name: str, columns: list[str], header: Sequence[str]
) -> Batch:
    """Return records as columns."""
    places = {column: header.index(column) for column in columns}
    values = {column: [fields[place] for fields in rows.values()] for column, place in places.items()}
    return Batch(name, list(rows), values, faults)


def _parquet(paths: list[Path], name: str, columns: list[str], optional: tuple[str, ...]) -> Iterator[Batch]:
    number = 0
    try:
        for path in paths:
            if is_compressed(path):
                raise InputError(f"{name}: a parquet file is compressed in itself; unpack it")
            names = pq.read_schema(path).names
            wanted = _wanted(names, columns, optional, name)
            for part in parquet_batches(path, wanted):
                part.validate(full=True)
                series = {column: _series(part[column], f"{name}: column {column!r}") for column in wanted}
                yield Batch(name, range(number + 1, number + len(part) + 1), series)
                number += len(part)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{name}: after row {number}: not readable as parquet ({one_line(str(error))})") from None


def _series(values: pa.Array, name: str) -> pl.Series:
    """Return texts, numbers, truth values or lists of them; of objects in a list only their ``text``.

    Raises:
        InputError: the column ``name`` holds something else, such as dates.
    """
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    in_list = _is_list(kind)
    item = kind.value_type if in_list else kind
    of_objects = in_list and pa.types.is_struct(item) and item.get_field_index("text") >= 0
    leaf = item.field("text").type if of_objects else item
    while _is_list(leaf):
        leaf = leaf.value_type
    if not (_is_text(leaf) or pa.types.is_null(leaf) or pa.types.is_boolean(leaf) or _is_number(leaf)):
        raise InputError(f"{name}: expected texts, numbers or lists of them, found {one_line(str(values.type))}")
    series = pl.Series(pl.from_arrow(values))
    if isinstance(series.dtype, pl.Array):
        series = series.arr.to_list()
    return series.list.eval(pl.element().struct.field("text")) if of_objects else series


def _is_list(kind: pa.DataType) -> bool:
    return any(is_a(kind) for is_a in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _is_text(kind: pa.DataType) -> bool:
    return any(is_a(kind) for is_a in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _is_number(kind: pa.DataType) -> bool:
    return any(is_a(kind) for is_a in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal))


def _wanted(header: Sequence[str], columns: list[str], optional: tuple[str, ...], name: str) -> list[str]:
    """Return the columns to read: those that must be there, once, and the optional ones that are."""
    wanted = [*columns, *(column for column in optional if column in header)]
    for column in wanted:
        if column not in header:
            raise InputError(f"{name}: column {column!r}: missing {one_line(nearest(column, header))}")
        if header.count(column) > 1:
            raise InputError(f"{name}: column {column!r}: expected once, found {header.count(column)} times")
    return wanted
