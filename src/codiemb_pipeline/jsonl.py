"""JSON and JSON-lines files, always written the same way: sorted keys, UTF-8."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from codiemb_pipeline.errors import InputError, what_is


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON; the same value gives the same bytes."""
    replace_text(path, json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write a text file; whoever reads it, after a kill too, finds the old content or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def read_json(path: Path) -> Any:
    """Read one JSON document.

    Raises:
        InputError: the file is missing, can't be read, or is no JSON; names file, line and column.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: expected a JSON file, found none") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{path}: {place}: not JSON ({error.msg}) but {what_is(path)}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from None
    except (OSError, ValueError, RecursionError) as error:  # a folder, endless nesting
        raise InputError(f"{path}: not readable as JSON ({error})") from None


def read_object(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        InputError: as :func:`read_json`, or the document is no object.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Stream ``rows`` into ``path``, one JSON object a line, and return how many there were."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")
            count += 1
    return count


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file this pipeline wrote.

    Raises:
        InputError: a line is no JSON object; names file and line. (Users' files are rejected row by row.)
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{path}: row {number}: not JSON ({error.msg})") from None
            if not isinstance(row, dict):
                raise InputError(f"{path}: row {number}: expected an object, found {type(row).__name__}")
            yield row
