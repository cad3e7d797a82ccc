"""The files that the report reads. A missing file makes its section absent; a broken file is an error."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from codiemb_pipeline.artifacts.base import Artifact
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json


class AbsentError(Exception):
    """A file that the page could show is missing; the message names it and the stage that writes it."""


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """Files of the other stages; any of them may be missing.

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
    """Read a file that a stage wrote as an object of ``kind``.

    Raises:
        AbsentError: the file is missing.
        InputError: the file is not JSON or lacks a field.
    """
    if not path.exists():
        raise AbsentError(f"{path.parent.name}/{path.name} was not found; stage {kind.written_by} writes it.")
    return kind.read(path)


def read_written(path: Path, stage: str) -> Any:
    """Read JSON that ``stage`` wrote.

    Raises:
        AbsentError: the file is missing.
        InputError: the file is not JSON.
    """
    if not path.exists():
        raise AbsentError(f"{path.parent.name}/{path.name} was not found; stage {stage} writes it.")
    return read_json(path)


def read_curve(path: Path, required: tuple[str, ...] = ("step",)) -> pd.DataFrame:
    """Return one curve of training as a table sorted by step, every column a number.

    Raises:
        AbsentError: the file is missing or has no row.
        InputError: a column is missing or not numeric; names file and column.
    """
    if not path.exists():
        raise AbsentError(f"{path.parent.name}/{path.name} was not found; stage train writes it.")
    try:
        curve = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a table with a header, found {error}") from None
    if curve.empty:
        raise AbsentError(f"{path.parent.name}/{path.name} has no rows.")
    for column in required:
        if column not in curve:
            raise InputError(f"{path}: expected a column {column!r}, found {', '.join(curve.columns)}")
    for column in curve:
        if not pd.api.types.is_numeric_dtype(curve[column]):
            raise InputError(f"{path}: column {column!r}: expected numbers, found text")
    return curve.sort_values("step", kind="stable").reset_index(drop=True)
