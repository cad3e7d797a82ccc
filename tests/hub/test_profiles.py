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

import pandas as pd
import pytest
import yaml
from hub_models import HUB_MODELS
from hub_server import Hub
from huggingface_hub import constants
from mini_sources import MINI_GITHUB, MINI_HUB_SOURCES, made, write_mini_data

from codiemb_pipeline.benchmarks.registry import BENCHMARKS, names_of
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.locations import is_hub_id
from codiemb_pipeline.params import Params
from codiemb_pipeline.params.ingest import RegisteredSource
from codiemb_pipeline.plan.requirements import Resource, check_availability, required_resources
from codiemb_pipeline.profiles import profile_titles, read_profile

ROOT = Path(__file__).parents[2]
PROFILES = {name: read_profile(name, ROOT) for name in profile_titles(ROOT) if name != "custom"}
PROFILES = {name: values for name, values in PROFILES.items() if is_hub_id(values["encoder"]["path"])}
CHANGES = {"max_steps": 12, "launch": {"nproc_per_node": 1, "backend": "gloo"}}
"""What two CPU cores ask for, in ``train``: an epoch of 11 steps and one more, so that there are two checkpoints."""
WORKSPACE = ("conf", "src", ".dvcignore", ".gitignore", ".telemetry", "dvc.yaml", "params.yaml", "pyproject.toml")
GITHUB_IS_FETCHED = "revision" in RegisteredSource.model_fields
"""Until then, and until the registry confirms a source, its files are named by ``path`` (``by_hand``)."""

Fetched = tuple[str, str, str]  # type, id and revision


@dataclass
class World:
    """A hub with all that the profiles name, and what was asked of it.

    Attributes:
        hub: the server.
        root: holds the cache of its clients, DVC's, and the workspaces.
        wanted: what the profiles run so far name.
    """

    hub: Hub
    root: Path
    wanted: set[Fetched] = field(default_factory=set)

    def environment(self, workspace: Path) -> dict[str, str]:
        """Return the environment of a user of this world."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"HOME": str(self.root), "PATH": path, "PYTHONPATH": str(workspace / "src"), "DVC_NO_ANALYTICS": "1"}
        git = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{self.root}/github/.insteadOf"}
        git |= {"GIT_CONFIG_VALUE_0": "https://github.com/"}
        return {**os.environ, **self.hub.environment(self.root / "hub-home"), **own, **git}

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
            facts = [entry for entry in (*BENCHMARKS.values(), *TRAINING_SOURCES.values()) if entry.hub_id == hub_id]
            hub.serve("dataset", hub_id, files, sorted({entry.revision for entry in facts if entry.revision}))
        for name, values in PROFILES.items():
            encoder = values["encoder"]
            folder = HUB_MODELS[encoder["path"]].write(root / "models" / name)
            hub.serve("model", encoder["path"], folder, [encoder["revision"]])
        yield World(hub, root)


def by_hand(root: Path, source: str) -> Path:
    """Return a folder with the files of a source that is not fetched yet."""
    declared, folder = TRAINING_SOURCES[source], root / "by-hand" / source
    if declared.hub_id not in MINI_HUB_SOURCES and not declared.github:
        return root / "data" / declared.hub_id
    files = made(MINI_GITHUB[declared.github] if declared.github else MINI_HUB_SOURCES[declared.hub_id])
    if source == "mmarco_zh":
        ids = made(MINI_HUB_SOURCES["hotchpotch/mmarco-hard-negatives-reranker-score"])
        files |= {path.replace("chinese_bge-reranker-v2-m3", "hard_negatives"): ids[path] for path in ids}
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


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
    for source, entry in values["ingest"]["sources"].items():
        declared = TRAINING_SOURCES[source]
        if not declared.confirmed or (declared.github and not GITHUB_IS_FETCHED):
            entry["path"] = str(by_hand(world.root, source))
    (workspace / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    return workspace


def resources_of(params: Path) -> list[Resource]:
    return required_resources(Params.parse(yaml.safe_load(params.read_text(encoding="utf-8"))))


@pytest.fixture(scope="module", params=PROFILES)
def workspace(request: pytest.FixtureRequest, world: World) -> Path:
    """The workspace of a profile after `dvc repro`."""
    folder = make_workspace(world, request.param)
    files = [resource.repository for resource in resources_of(folder / "params.yaml") if resource.hub_id]
    world.wanted |= {(repository.type, repository.hub_id, repository.revision) for repository in files}
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
        "main/step-000012",
        *(f"merged-{m}" for m in ("uniform", "greedy", "delta_guided")),
    }
    assert results.notna().all(axis=None)
    for name in BENCHMARKS:
        result = read_json(workspace / "data/07_model_output/evaluation/mteb/base" / f"{name}.json")
        assert result["dataset_revision"] == BENCHMARKS[name].revision
    moved = (results["main/step-000012"] - results["base"]).abs() > 1e-4
    assert all(moved[names_of(kind)].any() for kind in ("retrieval", "sts")), "training changes nothing"
    assert "paper" in read_json(workspace / "data/07_model_output/evaluation/summary.json")
    assert (workspace / "data/08_reporting/report.html").exists()


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
    checks = check_availability(resources_of(workspace / "params.yaml"))
    assert [check.where for check in checks if not check.found] == []


@pytest.mark.parametrize("name", PROFILES)
def test_before_that_the_plan_finds_it_on_the_hub(name, world, tmp_path, monkeypatch):
    world.hub.use_in(tmp_path, monkeypatch)
    checks = check_availability(required_resources(Params.parse(PROFILES[name])))
    assert [check.where for check in checks if not check.found and not check.resource.obstacle] == []
    assert {check.where.partition(":")[0] for check in checks if check.found} == {"on the hub"}
