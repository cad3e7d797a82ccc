"""What the report reads: files of the other stages, which may be missing, and facts of the run."""

import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from codiemb_pipeline.artifacts.base import Artifact
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params import TrainParams

STAGES = ("ingest", "mine", "assemble", "train", "merge", "evaluate", "report")
PACKAGES = (
    "codiemb-pipeline", "torch", "transformers", "sentence-transformers", "mteb", "datasets", "numpy", "pandas",
    "kedro", "dvc", "matplotlib",
)  # fmt: skip
CODE = ("src", "conf", "params.yaml", "dvc.yaml")
"""Where uncommitted changes count; outputs are ignored because they change while the pipeline runs."""

Value = TypeVar("Value")
Read = TypeVar("Read", bound=Artifact)


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
        merged: of ``merge``: summary.json.
        evaluation: of ``evaluate``: summary.json, geometry.json.
    """

    sources: Path
    hard_negatives: Path
    model_input: Path
    contamination: Path
    training_curves: Path
    merged: Path
    evaluation: Path


def attempt(build: Callable[..., Value], *arguments: Any) -> Value | AbsentError:
    """Return ``build(*arguments)``, or the error of a file that it or one of its arguments lacks."""
    absent = [str(argument) for argument in arguments if isinstance(argument, AbsentError)]
    if absent:
        return AbsentError(" ".join(dict.fromkeys(absent)))
    try:
        return build(*arguments)
    except AbsentError as error:
        return error


def read_artifact(kind: type[Read], path: Path) -> Read:
    """Read a file that a stage wrote as an object of ``kind``.

    Raises:
        AbsentError: the file is missing.
        InputError: the file is not JSON or lacks a field.
    """
    return kind.read(_written(path, kind.written_by))


def read_curve(path: Path, required: tuple[str, ...] = ("step",)) -> pd.DataFrame:
    """Return one curve of training as a table sorted by step, every column a number.

    Raises:
        AbsentError: the file is missing or has no row.
        InputError: a column is missing or not numeric; names file and column.
    """
    try:
        curve = pd.read_csv(_written(path, "train"))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a table with a header, found {error}") from None
    if curve.empty:
        raise AbsentError(f"{path.parent.name}/{path.name} has no rows.")
    for column in required:
        if column not in curve:
            raise InputError(f"{path}: expected a column {column!r}, found {', '.join(curve.columns)}")
    for column in curve.select_dtypes(exclude="number"):
        raise InputError(f"{path}: column {column!r}: expected numbers, found text")
    return curve.sort_values("step", kind="stable").reset_index(drop=True)


def _written(path: Path, stage: str) -> Path:
    if not path.exists():
        raise AbsentError(f"{path.parent.name}/{path.name} was not found; stage {stage} writes it.")
    return path


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """Facts of the run besides its results. The page shows no absolute path of them.

    Attributes:
        params: all of params.yaml.
        trainings: the training parameters of each run.
        versions: of the main packages that are installed, by name.
        git: the checked-out commit, and whether code or parameters differ from it; ``None`` when the project is not in
            a git repository or has no commit.
        durations: seconds by stage, in the order of the stages; empty when unknown.
        hardware: one line: cores, memory, Python.
    """

    params: dict[str, Any]
    trainings: Mapping[str, TrainParams]
    versions: dict[str, str]
    git: str | None
    durations: dict[str, float]
    hardware: str


def collect_run_facts(
    params: dict[str, Any], trainings: Mapping[str, TrainParams], project: Path, durations: Path
) -> RunFacts:
    """Collect the facts of the run.

    Args:
        params: all of params.yaml.
        trainings: the training parameters of each run.
        project: the project's root.
        durations: folder with ``<stage>.json``, each ``{"seconds": float}``; may be missing.

    Raises:
        InputError: a file of durations is not JSON.
    """
    files = {stage: durations / f"{stage}.json" for stage in STAGES}
    return RunFacts(
        params=params,
        trainings=trainings,
        versions=_versions(),
        git=_git_state(project),
        durations={stage: float(read_json(file)["seconds"]) for stage, file in files.items() if file.exists()},
        hardware=_hardware(),
    )


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _hardware() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = [f"{cores} core{'s' if cores != 1 else ''}"]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        parts.append(f"{memory:.0f} GiB memory")
    return ", ".join([*parts, f"{platform.system()} {platform.machine()}", f"Python {platform.python_version()}"])


def _git_state(project: Path) -> str | None:
    """Return the commit of ``project`` if its params.yaml is tracked; the folder may lie inside another repository."""
    tracked = _git(project, "ls-files", "--error-unmatch", "params.yaml")
    commit = _git(project, "rev-parse", "--short=12", "HEAD")
    if tracked is None or commit is None:
        return None
    return f"{commit}, with uncommitted changes" if _git(project, "status", "--porcelain", "--", *CODE) else commit


def _git(project: Path, *arguments: str) -> str | None:
    """Return the output of git; ``None`` when git is missing or fails."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        result = subprocess.run(
            ["git", *arguments], cwd=project, env=environment, capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
