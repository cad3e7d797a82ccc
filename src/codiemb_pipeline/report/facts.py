"""Facts of the run besides its results: parameters, versions, git, durations, hardware. No absolute path is shown."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from codiemb_pipeline.jsonl import read_json

STAGES = ("ingest", "mine", "assemble", "train", "merge", "evaluate", "report")
PACKAGES = (
    "codiemb-pipeline", "torch", "transformers", "sentence-transformers", "mteb", "datasets", "numpy", "pandas",
    "kedro", "dvc", "matplotlib",
)  # fmt: skip
CODE = ("src", "conf", "params.yaml", "dvc.yaml")
"""Where uncommitted changes count; outputs are ignored because they change while the pipeline runs."""


@dataclass(frozen=True, kw_only=True)
class GitState:
    """The checked-out commit, and whether code or parameters differ from it."""

    commit: str
    dirty: bool


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """Facts of the run.

    Attributes:
        params: all of params.yaml.
        versions: of the main packages that are installed, by name.
        git: ``None`` when the project is not in a git repository or has no commit.
        durations: seconds by stage, in the order of the stages; empty when unknown.
        hardware: one line: cores, memory, Python.
    """

    params: dict[str, Any]
    versions: dict[str, str]
    git: GitState | None
    durations: dict[str, float]
    hardware: str


def collect_run_facts(params: dict[str, Any], project: Path, durations: Path) -> RunFacts:
    """Collect the facts of the run.

    Args:
        params: all of params.yaml.
        project: the project's root.
        durations: folder with ``<stage>.json``, each ``{"seconds": float}``; may be missing.

    Raises:
        InputError: a file of durations is not JSON.
    """
    return RunFacts(
        params=params,
        versions=_versions(),
        git=_git_state(project),
        durations=_durations(durations),
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


def _durations(folder: Path) -> dict[str, float]:
    files = {stage: folder / f"{stage}.json" for stage in STAGES}
    return {stage: float(read_json(path)["seconds"]) for stage, path in files.items() if path.exists()}


def _hardware() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = [f"{cores} core{'s' if cores != 1 else ''}"]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        parts.append(f"{memory:.0f} GiB memory")
    return ", ".join([*parts, f"{platform.system()} {platform.machine()}", f"Python {platform.python_version()}"])


def _git_state(project: Path) -> GitState | None:
    """Return the commit of ``project`` if its params.yaml is tracked; the folder may lie inside another repository."""
    if _git(project, "ls-files", "--error-unmatch", "params.yaml") is None:
        return None
    commit = _git(project, "rev-parse", "--short=12", "HEAD")
    if not commit:
        return None
    return GitState(commit=commit, dirty=bool(_git(project, "status", "--porcelain", "--", *CODE)))


def _git(project: Path, *arguments: str) -> str | None:
    """Return the output of git; ``None`` when git is missing or fails."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        result = subprocess.run(
            ["git", *arguments], cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
