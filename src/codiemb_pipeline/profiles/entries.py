"""A YAML file as its keys, each with its lines as they were written; so that keys can be exchanged and nothing reflows.

ruamel.yaml finds where keys and values lie (YAML 1.2, as DVC reads params.yaml). Its own dump is not used: it ties a
comment to the value before it, so that a key that goes takes the next one's comment along. Knows nothing of parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from codiemb_pipeline.errors import InputError


@dataclass(frozen=True)
class Entry:
    """A key with all that is written of it. Lines are without their line ends.

    Attributes:
        key: as read.
        column: where it begins.
        above: the blank lines and comments before it.
        lines: from the key on; of a block of keys that one line alone. Without the ``remark``.
        remark: the comment at the end of the last of ``lines``, from the first blank before it; empty for none.
        value: as read.
        entries: the keys of a block; ``None`` where the value is written in any other way.
    """

    key: str
    column: int
    above: tuple[str, ...]
    lines: tuple[str, ...]
    remark: str
    value: Any
    entries: tuple[Entry, ...] | None

    @property
    def comments(self) -> tuple[str, ...]:
        """The comments before it."""
        return tuple(line.strip() for line in self.above if line.strip())

    def written(self) -> Iterator[str]:
        """Yield its lines, those below it too."""
        *first, last = self.lines
        yield from (*self.above, *first, last + self.remark)
        for entry in self.entries or ():
            yield from entry.written()

    def moved(self, column: int) -> Entry:
        """Return it beginning at another column, and all below it likewise."""
        by = column - self.column
        return replace(
            self,
            column=column,
            above=tuple(_moved(line, by) for line in self.above),
            lines=tuple(_moved(line, by) for line in self.lines),
            entries=None if self.entries is None else tuple(entry.moved(entry.column + by) for entry in self.entries),
        )


def read_entries(text: str, name: str) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """Return the keys of a YAML file in order, and the lines after the last.

    Args:
        text: its content.
        name: of the file, for messages.

    Raises:
        InputError: it is no YAML, or no block of keys.
    """
    yaml = YAML(typ="safe", pure=True)
    text = text if text.endswith("\n") else text + "\n"
    try:
        values, node = yaml.load(text), yaml.compose(text)
    except MarkedYAMLError as error:
        place = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise InputError(f"{name}: {place}not YAML ({error.problem or error.context})") from None
    if not isinstance(node, MappingNode) or node.flow_style:
        raise InputError(f"{name}: expected keys, one a line, with their values; found none")
    lines = text.split("\n")[:-1]
    try:
        entries, end = _entries(node, values, lines, 0)
    except ValueError:
        raise InputError(f"{name}: expected no merge keys (<<): write their keys out") from None
    return entries, tuple(lines[end:])


def write_entries(entries: tuple[Entry, ...], rest: tuple[str, ...]) -> str:
    """Return the text of a file; what :func:`read_entries` read comes out as it was."""
    return "\n".join([*(line for entry in entries for line in entry.written()), *rest]) + "\n"


def _entries(node: MappingNode, values: dict[str, Any], lines: list[str], start: int) -> tuple[tuple[Entry, ...], int]:
    """Return the keys of a block, whose first comment may stand in line ``start``, and the line after the last."""
    found = []
    if any(key.value == "<<" for key, _ in node.value):
        raise ValueError("merge key")
    for (key_node, value_node), (key, value) in zip(node.value, values.items(), strict=True):
        first, column = key_node.start_mark.line, key_node.start_mark.column
        above = tuple(lines[start:first])
        if isinstance(value_node, MappingNode) and not value_node.flow_style:
            below, start = _entries(value_node, value, lines, first + 1)
            head, remark = _without_remark(lines[first], key_node.end_mark.column)
            found.append(Entry(key, column, above, (head,), remark, value, below))
            continue
        written = value_node.start_mark.index < value_node.end_mark.index
        last, after = _end(value_node, lines, first, column) if written else (first, key_node.end_mark.column)
        own = lines[first : last + 1]
        own[-1], remark = _without_remark(own[-1], after)
        found.append(Entry(key, column, above, tuple(own), remark, value, None))
        start = last + 1
    return tuple(found), start


def _end(node: Node, lines: list[str], first: int, column: int) -> tuple[int, int]:
    """Return the last line of a value, and the column in it from which a comment may follow."""
    mark = node.end_mark
    if node.style not in ("|", ">") if isinstance(node, ScalarNode) else node.flow_style:
        return mark.line, mark.column
    # The mark of a text block or a list is at what follows it, after blank lines and comments.
    last = max(mark.line - 1, first)
    while last > first and _is_apart(lines[last], column):
        last -= 1
    return last, len(lines[last])


def _is_apart(line: str, column: int) -> bool:
    """Return whether a line is blank, or a comment that stands no deeper than ``column``."""
    bare = line.lstrip()
    return not bare or (bare.startswith("#") and len(line) - len(bare) <= column)


def _without_remark(line: str, after: int) -> tuple[str, str]:
    """Cut the comment off a line, which begins at column ``after`` or later."""
    rest = line[after:]
    place = rest.find("#")
    if place < 0:
        return line, ""
    kept = (line[:after] + rest[:place]).rstrip()
    return kept, line[len(kept) :]


def _moved(line: str, by: int) -> str:
    if by >= 0:
        return " " * by + line if line.strip() else line
    return line[min(-by, len(line) - len(line.lstrip())) :]
