"""A file that params.yaml names may lie anywhere: when it changes, and only then, DVC reruns what reads it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_run import tiny_params, write_sources

from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.locations import FileDigests
from codiemb_pipeline.watch import digest_of, watched

ROOT = Path(__file__).parents[1]


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    return tiny_params(write_sources(tmp_path / "raw"), tmp_path / "encoder")


def test_sources_encoder_and_benchmarks_are_watched_unless_the_hub_has_them(values, tmp_path):
    values["evaluate"]["benchmarks"] = {
        "STSB": {"type": "mteb", "path": str(tmp_path / "stsb")},
        "LCQMC": {"type": "mteb", "path": None},
    }
    raw = sorted(source["path"] for source in values["ingest"]["sources"].values())
    assert watched(values) == {
        "sources": raw,
        "encoder": [str(tmp_path / "encoder")],
        "benchmarks": [str(tmp_path / "stsb")],
    }
    values["encoder"]["path"] = "BAAI/bge-large-zh-v1.5"
    assert watched(values)["encoder"] == []


def test_a_digest_tells_contents_and_names_apart_and_remembers_files(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.txt").write_text("one")

    def digest() -> str | None:
        digests = FileDigests(tmp_path / "memory.json")
        try:
            return digest_of(str(folder), digests)
        finally:
            digests.save()

    first = digest()
    assert digest() == first
    (folder / "a.txt").write_text("two!")
    second = digest()
    (folder / "a.txt").rename(folder / "b.txt")
    assert len({first, second, digest()}) == 3
    assert [Path(file).name for file in read_json(tmp_path / "memory.json")] == ["b.txt"]
    assert digest_of("nowhere/at/all", FileDigests(None)) is None


def repro(project: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "DVC_NO_ANALYTICS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    command = [sys.executable, "-m", "dvc", "repro", "ingest"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_ingest_reruns_when_a_source_outside_the_project_changes_and_only_then(values, tmp_path):
    project = tmp_path / "project"
    for name in ("conf", "src", "pyproject.toml"):
        source, target = ROOT / name, project / name
        project.mkdir(exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    kept = {name: stages[name] for name in ("watch", "ingest")}
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": kept}, sort_keys=False))
    (project / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=project, check=True)
    assert "Running stage 'ingest'" in repro(project)
    assert "Running stage 'ingest'" not in repro(project)
    with (tmp_path / "raw" / "pairs.tsv").open("a") as file:
        file.write("a new pair\tof texts\t3\n")
    assert "Running stage 'ingest'" in repro(project)
