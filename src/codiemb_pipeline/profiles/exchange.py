"""One set of values for another in a params.yaml: what is equal stays as it is written, comments and all.

A comment in params.yaml that is word for word a profile's at the same key belongs to that profile and goes with it; any
other is the owner's and stays while its key does. So switching there and back changes no byte. Knows nothing of files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from codiemb_pipeline.profiles.entries import Entry

Entries = tuple[Entry, ...]


@dataclass(frozen=True)
class Change:
    """A value that became another.

    Attributes:
        key: with the keys above it, joined by dots.
        before, after: how it is written; ``None`` where it was not there, or is no more.
    """

    key: str
    before: str | None
    after: str | None


def exchange(present: Entries, wanted: Entries, known: Sequence[Entries]) -> Entries:
    """Return the entries of ``present`` with the keys and values of ``wanted``.

    Keys that stay keep their order; one that comes stands behind the key it stands behind in ``wanted``.

    Args:
        present: what is there now.
        wanted: what is to be there.
        known: the same part of every profile, whose comments are theirs.
    """
    there, theirs = ({entry.key: entry for entry in entries} for entries in (present, wanted))
    kept = [
        _exchanged(entry, theirs[entry.key], [found for part in known for found in part if found.key == entry.key])
        for entry in present
        if entry.key in theirs
    ]
    column = present[0].column if present else None
    before = -1
    for entry in wanted:
        if entry.key not in there:
            kept.insert(before + 1, entry if column is None else entry.moved(column))
        before = next(number for number, other in enumerate(kept) if other.key == entry.key)
    return tuple(kept)


def _exchanged(mine: Entry, theirs: Entry, known: Sequence[Entry]) -> Entry:
    """Return ``mine`` with the value of ``theirs``, and its comments where those of ``mine`` are a profile's."""
    result = mine
    if mine.entries is not None and theirs.entries is not None:
        parts = [entry.entries for entry in known if entry.entries is not None]
        result = replace(mine, entries=exchange(mine.entries, theirs.entries, parts))
    elif not _same(mine, theirs):
        moved = theirs.moved(mine.column)
        result = replace(mine, lines=moved.lines, entries=moved.entries)
    if not mine.remark or any(mine.remark.strip() == entry.remark.strip() for entry in known):
        result = replace(result, remark=theirs.remark)
    if not mine.comments or any(mine.comments == entry.comments for entry in known):
        blank = [line for line in mine.above if not line.strip()]
        comments = theirs.moved(mine.column).above
        result = replace(result, above=(*blank, *(line for line in comments if line.strip())))
    return result


def changes(present: Entries, after: Entries, place: str = "") -> list[Change]:
    """Return the values that differ, the deepest keys of each."""
    was, now = ({entry.key: entry for entry in entries} for entries in (present, after))
    found = []
    for key in dict.fromkeys([*was, *now]):
        old, new = was.get(key), now.get(key)
        if old and new and old.entries is not None and new.entries is not None:
            found += changes(old.entries, new.entries, f"{place}{key}.")
        elif old is None or new is None or not _same(old, new):
            found.append(Change(f"{place}{key}", _shown(old), _shown(new)))
    return found


def _same(one: Entry, other: Entry) -> bool:
    """Return whether two values are the same, 1 and true being two."""
    return json.dumps(one.value, default=str, sort_keys=True) == json.dumps(other.value, default=str, sort_keys=True)


def _shown(entry: Entry | None) -> str | None:
    if entry is None:
        return None
    if entry.entries is not None:
        return f"({len(entry.entries)} keys)"
    return " ".join(line.strip() for line in entry.lines).removeprefix(f"{entry.key}:").strip()
