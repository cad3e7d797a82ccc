"""What was run: git, durations, versions, also where there is none."""

import subprocess
from pathlib import Path

import pytest

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.report.inputs import collect_run_facts


def git(project: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=project, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "params.yaml").write_text("a: 1\n", encoding="utf-8")
    git(folder, "init", "-q")
    return folder


def commit(project: Path) -> str:
    git(project, "add", "params.yaml")
    git(project, "commit", "-qm", "first")
    return git(project, "rev-parse", "--short=12", "HEAD")


def test_the_commit_is_found_and_changed_parameters_but_not_outputs_are_reported(project):
    expected = commit(project)
    (project / "metrics.json").write_text("{}", encoding="utf-8")
    assert collect_run_facts({}, {}, project, project / "durations").git == expected
    (project / "params.yaml").write_text("a: 2\n", encoding="utf-8")
    assert collect_run_facts({}, {}, project, project / "durations").git == f"{expected}, with uncommitted changes"


def test_without_a_commit_of_these_parameters_or_without_git_there_is_no_state(project, monkeypatch):
    """The project may be an archive that was unpacked inside somebody else's repository."""
    git(project, "add", "params.yaml")
    assert collect_run_facts({}, {}, project, project / "durations").git is None
    commit(project)
    inner = project / "unpacked"
    inner.mkdir()
    (inner / "params.yaml").write_text("a: 1\n", encoding="utf-8")
    assert collect_run_facts({}, {}, inner, inner / "durations").git is None
    monkeypatch.setenv("PATH", str(inner))
    assert collect_run_facts({}, {}, project, project / "durations").git is None


def test_durations_come_in_the_order_of_the_stages(tmp_path):
    for stage, seconds in {"train": 3.5, "ingest": 1.0}.items():
        write_json(tmp_path / f"{stage}.json", {"seconds": seconds})
    assert list(collect_run_facts({}, {}, tmp_path, tmp_path).durations.items()) == [("ingest", 1.0), ("train", 3.5)]
    assert collect_run_facts({}, {}, tmp_path, tmp_path / "none").durations == {}


def test_a_broken_duration_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "train.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"train\.json"):
        collect_run_facts({}, {}, tmp_path, tmp_path)


def test_versions_and_hardware_are_reported_without_a_path(tmp_path):
    facts = collect_run_facts({}, {}, tmp_path, tmp_path)
    assert facts.versions["pandas"].startswith("3.")
    assert "core" in facts.hardware
    assert "Python 3." in facts.hardware
    assert "/" not in facts.hardware
