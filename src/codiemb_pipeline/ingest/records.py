"""Records of tables in text: fields in quotes, and records that are broken.

A line break that nobody quoted, or a stray carriage return, cuts a record in pieces, of which the last can look like a
record of its own. All pieces are one bad row. Where it can't be told whether a piece belongs to the record before it or
to the one after it, both are bad: no row is made of half a record.
"""

import re
from collections.abc import Sequence

import polars as pl

from codiemb_pipeline.ingest.validation import NUMBER, Fault

HELD_RECORDS = 2**16  # of which none is whole; more are taken as they are
AROUND = 4  # records before and after a broken one that tell which columns hold numbers
QUOTED = re.compile(r'"[^"]*+(?:""[^"]*+)*+"')

_PLAIN = re.compile(r"[^\t\n]*")
FIELD_CHARACTERS = 2**24  # the csv module's own limit is 131,072; documents are longer

Record = tuple[int, int, list[str] | str]  # first line, last line; fields, or the reason why there are none


def settle(records: Sequence[Record], width: int, *, final: bool) -> tuple[dict[int, list[str]], list[Fault], int]:
    """Return the fields of whole records by line, the faults of the others, and how many records are settled.

    The others, at the end, are to be given again before those that follow, unless ``final``.
    """
    short = [isinstance(fields, list) and len(fields) < width for *_, fields in records]
    whole = [isinstance(fields, list) and len(fields) == width for *_, fields in records]
    end = len(records)
    if not final and end:
        end -= 1
        while end and (short[end] or short[end - 1]):
            end -= 1
        end = end or (len(records) if len(records) > HELD_RECORDS else 0)
    faults: list[Fault] = []
    broken: set[int] = set()
    start = 0
    while start < end:
        if not short[start]:
            start += 1
            continue
        stop = next((index for index in range(start, end) if not short[index]), end)
        before = start - 1 if start and whole[start - 1] and start - 1 not in broken else None
        after = stop if stop < end and whole[stop] else None
        for group in _pieces(records, width, before, range(start, stop), after):
            broken |= set(group)
            faults += _faults([records[index] for index in group], width)
        start = stop
    good = {}
    for index, (first, _, fields) in enumerate(records[:end]):
        if whole[index] and index not in broken:
            good[first] = fields
        elif index not in broken:
            faults += _faults([records[index]], width)
    return good, sorted(faults, key=lambda fault: fault[0]), end


def _pieces(
    records: Sequence[Record], width: int, before: int | None, run: range, after: int | None
) -> list[list[int]]:
    """Return, as groups, the records that a run of short ones makes bad, itself included.

    A piece without a separator may end the record before the run, or begin the one after it, unless all whole records
    around have a number there: a number is not cut.
    """
    fields = [records[index][2] for index in run]
    around = [*records[max(0, run.start - AROUND) : run.start], *records[run.stop : run.stop + AROUND]]
    around = [row for *_, row in around if isinstance(row, list) and len(row) == width]
    numbered_first, numbered_last = (
        len(around) > 1 and all(re.match(NUMBER, row[side]) for row in around) for side in (0, -1)
    )
    ends_before = len(fields[0]) == 1 and before is not None and not numbered_last
    begins_after = len(fields[-1]) == 1 and after is not None and not numbered_first
    if begins_after:
        return [[before]] * ends_before + [[*run, after]]
    if ends_before:
        return [[before, *run]]
    return [list(run)] if sum(map(len, fields)) - len(fields) + 1 == width else [[index] for index in run]


def _faults(records: list[Record], width: int) -> list[Fault]:
    """Return the fault of a record, or the one of all pieces of a record."""
    (first, last, fields), end = records[0], records[-1][1]
    if len(records) > 1:
        return [(first, "(row)", f"expected {width} fields, found a record that is broken over lines {first} to {end}")]
    if isinstance(fields, str):
        reason = fields
    elif len(fields) == width:
        reason = "expected a whole record, found one that the next line may go on with"
    else:
        reason = f"expected {width} fields, found {len(fields)}"
    # A stray quote swallows the rows after it; each of them counts for the tolerance.
    spans = f"; a quoted field runs from line {first} to {last}" if last > first else ""
    return [(line, "(row)", reason + spans) for line in range(first, last + 1)]


def tab_records(text: str, first: int, width: int, *, quotes: bool, final: bool) -> tuple[list[Record], int]:
    """Return the records of lines split at tabs, and how many characters of ``text`` they take.

    That is all of it, unless a quoted field is open at the end and not ``final``.

    Args:
        text: whole lines.
        first: the number of the first line.
        width: how many fields a record should have.
        quotes: whether a field may be in quotes. A line that has the right number of fields as it stands is a record;
            otherwise a quoted field may hold tabs and line breaks, where this gives the right number.
        final: whether no lines follow.
    """
    records: list[Record] = []
    place = 0
    while place < len(text):
        end = text.find("\n", place)
        end = len(text) if end < 0 else end
        fields, lines = text[place:end].split("\t"), 1
        if quotes and text.find('"', place, end) >= 0:
            spanning, until = [], end
            if any(field.startswith('"') and not QUOTED.fullmatch(field) for field in fields):
                spanning, until = _quoted_record(text, place)
                if until < 0 and not final and len(text) - place < FIELD_CHARACTERS:
                    break
            crossed = text[place:until].split("\n") if len(spanning) == width else []
            if any(line.count("\t") != width - 1 for line in crossed):
                fields, lines, end = spanning, len(crossed), until
            else:
                fields = [unquoted(field) for field in fields]
        if end > place:
            records.append((first, first + lines - 1, fields))
        first, place = first + lines, end + 1
    return records, min(place, len(text))


def _quoted_record(text: str, place: int) -> tuple[list[str], int]:
    """Return the fields from ``place`` on, without quotes, and where they end: -1 if a quoted one is never closed."""
    fields = []
    while True:
        found = QUOTED.match(text, place)
        if found is None and text.startswith('"', place):
            return [], -1
        if found is None or text[found.end() : found.end() + 1] not in ("", "\t", "\n"):
            found = _PLAIN.match(text, place)
        fields.append(unquoted(found[0]))
        place = found.end() + 1
        if text[place - 1 : place] in ("", "\n"):
            return fields, place - 1


def unquoted(field: str) -> str:
    """Return a field without the quotes around it, where there are some, and each doubled one in it as one."""
    return field[1:-1].replace('""', '"') if QUOTED.fullmatch(field) else field


def all_unquoted(fields: pl.Series) -> pl.Series:
    """Return :func:`unquoted` of each field."""
    quoted = fields.str.starts_with('"') & fields.str.contains(r'^"(?:[^"]|"")*"$')
    if not quoted.any():
        return fields
    inside = fields.str.slice(1, fields.str.len_chars() - 2).str.replace_all('""', '"', literal=True)
    return inside.zip_with(quoted, fields)
