"""The profiles as they stand, from an empty workspace to the report, by `dvc repro` and the clients that a user has.

Encoder, sources and all 15 benchmarks come from a hub on loopback, at the ids and revisions that profiles and registry
name; models and data sets are miniatures. A profile is changed in ``CHANGES`` and nothing else. The workspaces share
the hub's cache and DVC's, so that data are fetched once and the same ingest runs once.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hub_models import HUB_MODELS
from hub_server import Hub
from huggingface_hub import constants
from local_github import commit_all
from mini_sources import MINI_GITHUB, made, write_files, write_mini_data

from codiemb_pipeline.benchmarks.registry import BENCHMARKS
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.locations import is_hub_id
from codiemb_pipeline.params import Params
from codiemb_pipeline.plan.requirements import Resource, check_availability, required_resources
from codiemb_pipeline.profiles import profile_titles, read_profile

ROOT = Path(__file__).parents[2]
PROFILES = {name: read_profile(name, ROOT) for name in profile_titles(ROOT) if name != "custom"}
PROFILES = {name: values for name, values in PROFILES.items() if is_hub_id(values["encoder"]["path"])}
CHANGES = {"max_steps": 20, "launch": {"nproc_per_node": 1, "backend": "gloo"}}
"""What two CPU cores ask for, in ``train``: an epoch of 11 or 19 steps and a little more, for two checkpoints."""
WORKSPACE = ("conf", "src", ".dvcignore", ".gitignore", ".telemetry", "dvc.yaml", "params.yaml", "pyproject.toml")
MINIATURE = ("rows", "dev_rows", "sha256")
"""What the registry says of the real files; a workspace has a copy without it, with the commits of ``MINI_GITHUB``."""

Fetched = tuple[str, str, str]  # type, id and revision


SOURCES = {name: TRAINING_SOURCES[name] for values in PROFILES.values() for name in values["ingest"]["sources"]}
DATA_SETS = {(spec.hub_id, spec.revision) for spec in BENCHMARKS.values()}
ORIGINS = [origin for source in SOURCES.values() for origin in source.origins if origin.host == "hub"]
DATA_SETS |= {(origin.id, origin.revision) for origin in ORIGINS}


@dataclass
class World:
    """A hub with all that the profiles name, and what was asked of it.

    Attributes:
        hub: the server.
        root: holds the cache of its clients, DVC's, and the workspaces.
        commits: of the repositories on GitHub.
        wanted: what the profiles run so far name.
    """

    hub: Hub
    root: Path
    commits: dict[str, str]
    wanted: set[Fetched] = field(default_factory=set)

    @property
    def git(self) -> dict[str, str]:
        """The variables that let git find GitHub in a folder."""
        key, value = f"url.file://{self.root}/github/.insteadOf", "https://github.com/"
        return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": key, "GIT_CONFIG_VALUE_0": value}

    def environment(self, workspace: Path) -> dict[str, str]:
        """Return the environment of a user of this world."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"HOME": str(self.root), "PATH": path, "PYTHONPATH": str(workspace / "src"), "DVC_NO_ANALYTICS": "1"}
        return {**os.environ, **self.hub.environment(self.root / "hub-home"), **own, **self.git}

    def run(self, command: str, workspace: Path) -> str:
        """Run a command line in a workspace and return what it says."""
        done = subprocess.run(
            command.split(), cwd=workspace, env=self.environment(workspace), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("profiles")
    with Hub() as hub:
        for hub_id, files in write_mini_data(root / "data").items():
            hub.serve("dataset", hub_id, files, sorted(revision for known, revision in DATA_SETS if known == hub_id))
        for name, values in PROFILES.items():
            encoder = values["encoder"]
            folder = HUB_MODELS[encoder["path"]].write(root / "models" / name)
            hub.serve("model", encoder["path"], folder, [encoder["revision"]])
        commits = {}
        for name, files in MINI_GITHUB.items():
            write_files(root / "github" / name, made(files))
            commits[name] = commit_all(root / "github" / name)
        yield World(hub, root, commits)


def fit_registry(file: Path, commits: dict[str, str]) -> None:
    """Let a registry of sources describe the miniatures."""

    def fitted(facts: Any) -> Any:
        if not isinstance(facts, dict):
            return [fitted(entry) for entry in facts] if isinstance(facts, list) else facts
        found = {key: fitted(value) for key, value in facts.items() if key not in MINIATURE}
        return found | ({"revision": commits[found["id"]]} if found.get("id") in commits else {})

    facts = yaml.safe_load(file.read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump(fitted(facts), sort_keys=False, allow_unicode=True), encoding="utf-8")


def make_workspace(world: World, name: str) -> Path:
    """Make a workspace as a user does, with the parameters of a profile, changed in ``CHANGES``."""
    workspace = world.root / name
    workspace.mkdir()
    for part in WORKSPACE:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, workspace / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, workspace / part)
    for command in ("git init -q", "dvc init -q", f"dvc cache dir --local {world.root / 'dvc-cache'}"):
        world.run(command, workspace)
    world.run(f"python -m codiemb_pipeline.profiles use {name}", workspace)
    values = yaml.safe_load((workspace / "params.yaml").read_text(encoding="utf-8"))
    values["train"] |= {**CHANGES, "launch": values["train"]["launch"] | CHANGES["launch"]}
    (workspace / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    fit_registry(workspace / "src/codiemb_pipeline/ingest/registry.yaml", world.commits)
    return workspace


def resources_of(params: Path) -> list[Resource]:
    return required_resources(Params.parse(yaml.safe_load(params.read_text(encoding="utf-8"))))


@pytest.fixture(scope="module", params=PROFILES)
def workspace(request: pytest.FixtureRequest, world: World) -> Path:
    """The workspace of a profile after `dvc repro`."""
    folder = make_workspace(world, request.param)
    encoder = PROFILES[request.param]["encoder"]
    world.wanted |= {("model", encoder["path"], encoder["revision"]), *(("dataset", *place) for place in DATA_SETS)}
    world.run("dvc repro", folder)
    return folder


@pytest.mark.slow
def test_every_model_is_judged_on_the_fifteen(workspace):
    results = pd.read_csv(workspace / "data/08_reporting/results.csv").pivot(
        index="benchmark", columns="model", values="score"
    )
    assert set(results.index) == set(BENCHMARKS)
    assert set(results.columns) == {
        "base",
        "main/step-000020",
        *(f"merged-{m}" for m in ("uniform", "greedy", "delta_guided")),
    }
    assert results.notna().all(axis=None)
    assert (results["base"] != results["main/step-000020"]).any(), "what was trained is what was evaluated"
    for name in BENCHMARKS:
        result = read_json(workspace / "data/07_model_output/evaluation/mteb/base" / f"{name}.json")
        assert result["dataset_revision"] == BENCHMARKS[name].revision
    models = sorted((workspace / "data/06_models/checkpoints/main").glob("step-*"))
    models.append(workspace / "data/06_models/merged/uniform")
    weights = {(model / "model.safetensors").read_bytes() for model in models}
    assert len(weights) == len(models) == 4, "base, two checkpoints and their mean"
    assert "paper" in read_json(workspace / "data/07_model_output/evaluation/summary.json")
    assert (workspace / "data/08_reporting/report.html").exists()
    assert "non-commercial" in (workspace / "data/06_models/merged/uniform/README.md").read_text(), (
        "licences of its data"
    )


@pytest.mark.slow
def test_what_the_profile_names_came_from_the_hub_at_its_revision_once(workspace, world):
    trees = [
        re.fullmatch(r"/api/(model|dataset)s/(.+)/tree/(.+)", asked.path) for asked in world.hub.asked("GET /api/")
    ]
    assert {found.groups() for found in trees if found} == world.wanted
    files = [asked.path for asked in world.hub.asked("HEAD ")]
    assert len(files) == len(set(files)) > 0
    assert not [path for path in files if "onnx" in path]


@pytest.mark.slow
def test_afterwards_the_plan_finds_all_of_it_without_a_network(workspace, world, monkeypatch):
    world.hub.use_in(world.root / "hub-home", monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    resources = resources_of(workspace / "params.yaml")  # GitHub's by the registry's commits, not the workspace's
    checks = check_availability(one for one in resources if one.host == "hub")
    assert [check.where for check in checks if not check.found] == []


@pytest.mark.parametrize("name", PROFILES)
def test_before_that_the_plan_finds_it_on_the_hub(name, world, tmp_path, monkeypatch):
    world.hub.use_in(tmp_path, monkeypatch)
    for variable, value in world.git.items():
        monkeypatch.setenv(variable, value)
    checks = check_availability(required_resources(Params.parse(PROFILES[name])))
    assert [check.where for check in checks if not check.found] == []
    assert {check.where.partition(":")[0] for check in checks if check.found} <= {"on the hub", "on GitHub"}
