"""The rim as a user meets it: Kedro in process on the real project, with faults that must end in one line."""

import shutil
from pathlib import Path

import pytest
from click import ClickException
from frozen_params import PARAMS_FILE
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from codiemb_pipeline.catalog_types import RunFolder, StageOutput, WorkFolder

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of the project's configuration, without data."""
    shutil.copy(PARAMS_FILE, tmp_path / "params.yaml")
    for name in ("conf", "pyproject.toml"):
        target = tmp_path / name
        shutil.copytree(ROOT / name, target) if (ROOT / name).is_dir() else shutil.copy(ROOT / name, target)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    monkeypatch.chdir(tmp_path)
    bootstrap_project(tmp_path)
    return tmp_path


def run(project: Path, stage: str, **overrides: object) -> None:
    with KedroSession.create(project_path=project, runtime_params=overrides) as session:
        session.run(pipeline_names=[stage])


def test_a_parameter_typo_is_named_with_the_nearest_key_whatever_stage_runs(project):
    with pytest.raises(ClickException, match=r"train\.lerning_rate: unknown parameter \(did you mean 'learning_rate'"):
        run(project, "ingest", train={"lerning_rate": 1.0})


def test_a_missing_input_names_the_folder_before_any_node_runs(project):
    with pytest.raises(ClickException, match=r"sources: nothing at .*02_intermediate"):
        run(project, "mine")


def test_a_stage_that_fails_ends_in_its_message_and_leaves_what_stood_there(project):
    kept = project / "data/02_intermediate/sources/old.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("made earlier")
    broken = {"task": "ir", "reader": "beir", "path": "nowhere", "splits": None}
    with pytest.raises(ClickException, match=r"ingest\.sources\.semanlink\.path"):
        run(project, "ingest", ingest={"sources": {"semanlink": broken}})
    assert kept.read_text() == "made earlier"


def test_a_saved_folder_replaces_what_stood_there(tmp_path):
    made, target = tmp_path / "draft", tmp_path / "deep" / "target"
    for folder, name in ((target, "old"), (made, "new")):
        folder.mkdir(parents=True)
        (folder / name).write_text("x")
    dataset = StageOutput(str(target))
    dataset.save(made)
    assert [path.name for path in dataset.load().iterdir()] == ["new"]
    assert not made.exists()


def test_a_run_replaces_its_own_folder_and_leaves_the_others(tmp_path):
    for run in ("main", "hot"):
        (tmp_path / "draft" / run).mkdir(parents=True)
        RunFolder(str(tmp_path / "all"), run).save(tmp_path / "draft" / run)
    (tmp_path / "draft" / "new").mkdir()
    (tmp_path / "draft" / "new" / "weights").write_text("x")
    dataset = RunFolder(str(tmp_path / "all"), "hot")
    dataset.save(tmp_path / "draft" / "new")
    assert sorted(str(path.relative_to(dataset.load())) for path in dataset.load().rglob("*")) == [
        "hot",
        "hot/weights",
        "main",
    ]


def test_a_run_that_is_not_in_the_parameters_is_named_with_the_nearest(project):
    with pytest.raises(ClickException, match=r"--params=run=mian: no run of that name .*did you mean 'main'"):
        run(project, "train", run="mian")


def test_a_saved_file_is_moved_into_place(tmp_path):
    (tmp_path / "draft.json").write_text("{}")
    dataset = StageOutput(str(tmp_path / "deep" / "metrics.json"))
    dataset.save(tmp_path / "draft.json")
    assert dataset.load().read_text() == "{}"


def test_the_work_folder_can_lie_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("CODIEMB_WORK", str(tmp_path / "elsewhere"))
    assert WorkFolder().load() == tmp_path / "elsewhere"
    assert (tmp_path / "elsewhere").is_dir()
