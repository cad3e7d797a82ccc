"""Where the report's input lies, and how a part that was never written is told from one that is broken.

A file that is not there makes its section of the page "absent", with the reason; a file that is there and cannot be
read is an error. Knows nothing of what the files mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from codiemb_pipeline.artifacts.base import Artifact
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json


class AbsentError(Exception):
    """Something the page could show was not written; the message says what, and which stage writes it."""


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """What the other stages wrote; any of it may be missing.

    Attributes:
        sources: of ``ingest``: a folder per source, counts.json, rejects.jsonl.
        hard_negatives: of ``mine``: audit.json.
        model_input: of ``assemble``: manifest.json.
        contamination: of ``assemble``: the file contamination.json.
        training_curves: of ``train``: a folder per run with ir.csv, sts.csv, dev.csv.
        merged: of ``merge``: summary.json and a folder per recipe with provenance.json.
        evaluation: of ``evaluate``: summary.json, geometry.json.
    """

    sources: Path
    hard_negatives: Path
    model_input: Path
    contamination: Path
    training_curves: Path
    merged: Path
    evaluation: Path


Read = TypeVar("Read", bound=Artifact)


def read_artifact(kind: type[Read], path: Path) -> Read:
    """Return the file that a stage wrote, as an object of ``kind``.

    Raises:
        AbsentError: there is no such file.
        InputError: the file is no JSON or of another form.
    """
    if not path.exists():
        raise AbsentError(f"{path.parent.name}/{path.name} was not found; stage {kind.written_by} writes it.")
    return kind.read(path)


def read_written(path: Path, stage: str) -> Any:
    """Return the JSON that ``stage`` wrote.

    Raises:
        AbsentError: there is no such file.
        InputError: the file is no JSON.
    """
    if not path.exists():
        raise AbsentError(f"{path.parent.name}/{path.name} was not found; stage {stage} writes it.")
    return read_json(path)


def read_curve(path: Path, required: tuple[str, ...] = ("step",)) -> pd.DataFrame:
    """Return one curve of training as a table sorted by step, every column a number.

    Raises:
        AbsentError: there is no such file, or it holds no row.
        InputError: a column is missing or holds something else than numbers; names file and column.
    """
    if not path.exists():
        raise AbsentError(f"{path.parent.name}/{path.name} was not found; stage train writes it.")
    try:
        curve = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a table with a header, found {error}") from None
    if curve.empty:
        raise AbsentError(f"{path.parent.name}/{path.name} holds no row.")
    for column in required:
        if column not in curve:
            raise InputError(f"{path}: expected a column {column!r}, found {', '.join(curve.columns)}")
    for column in curve:
        if not pd.api.types.is_numeric_dtype(curve[column]):
            raise InputError(f"{path}: column {column!r}: expected numbers, found text")
    return curve.sort_values("step", kind="stable").reset_index(drop=True)
