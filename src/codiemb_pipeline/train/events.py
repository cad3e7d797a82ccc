"""The events of a running training: a JSON object a line, written by process 0, read by the launcher, made into curves.

Kinds: ``start``, ``step`` (one row of a task's curve), ``saved`` and ``dev`` (a checkpoint, and its scores), ``end``.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from codiemb_pipeline.jsonl import replace_text

EVENTS_FILE = "events.jsonl"


class EventWriter:
    """Appends events to a file; on any process but 0 it does nothing."""

    def __init__(self, path: Path, *, active: bool) -> None:
        self._file: TextIO | None = path.open("a", encoding="utf-8") if active else None

    def write(self, kind: str, **fields: Any) -> None:
        """Write one event and flush it."""
        if self._file:
            self._file.write(json.dumps({"kind": kind, **fields}) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of an event file; a last line cut short by a kill is left out."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def keep_until(path: Path, step: int) -> None:
    """Drop what was logged after ``step``, for a run that continues from there; all of it where it starts again."""
    kept = [event for event in read_events(path) if event["kind"] in ("step", "dev") and event["step"] <= step]
    kept = kept if step else []
    replace_text(path, "".join(json.dumps(event) + "\n" for event in kept))


def write_curves(events: Path, out: Path) -> None:
    """Write ``ir.csv`` and ``sts.csv`` (one row per logged step of the task) and ``dev.csv`` (one per checkpoint)."""
    rows: dict[str, list[dict[str, Any]]] = {"ir": [], "sts": [], "dev": []}
    for event in read_events(events):
        if event["kind"] == "step":
            rows[event["task"]].append({name: event[name] for name in event if name not in ("kind", "task")})
        elif event["kind"] == "dev":
            rows["dev"].append({"step": event["step"], **event["scores"]})
    out.mkdir(parents=True, exist_ok=True)
    for name, table in rows.items():
        columns = list(dict.fromkeys(column for row in table for column in row)) or ["step"]
        with (out / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows({key: _rounded(key, value) for key, value in row.items()} for row in table)


def _rounded(key: str, value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) and key != "learning_rate" else value
