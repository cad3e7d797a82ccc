"""The rim as a user meets it: Kedro in process on the real project, with faults that must end in one line."""

import errno
import shutil
from pathlib import Path

import pytest
from click import ClickException
from frozen_params import PARAMS_FILE
from kedro.framework.cli.cli import KedroCLI
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from tiny_run import tiny_params, write_sources

from codiemb_pipeline.catalog_types import RunFolder, StageOutput, WorkFolder
from codiemb_pipeline.ingest.run import ingest_sources
from codiemb_pipeline.params import Params
from codiemb_pipeline.params.file import read_params, write_yaml
from codiemb_pipeline.pipelines.rim import stage_pipeline

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


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_an_output_that_is_a_link_goes_where_the_link_leads(tmp_path, kind):
    target, disk = tmp_path / "project" / "output", tmp_path / "disk" / "output"
    target.parent.mkdir()
    disk.parent.mkdir()
    disk.mkdir() if kind == "folder" else disk.write_text("old")
    target.symlink_to(disk)
    for content in ("first", "second"):
        made = tmp_path / "draft"
        if kind == "folder":
            made.mkdir()
            (made / content).write_text("x")
        else:
            made.write_text(content)
        StageOutput(str(target)).save(made)
        assert target.is_symlink()
        assert not made.exists()
        assert [path.name for path in disk.iterdir()] == [content] if kind == "folder" else disk.read_text() == content
    assert {path.name for path in disk.parent.iterdir()} == {"output"}


def test_the_root_of_a_disk_gets_new_content(tmp_path, monkeypatch):
    target, made = tmp_path / "disk", tmp_path / "draft"
    for folder, names in ((target, ("old", "deep/old")), (made, ("new", "deep/new"))):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("x")
    monkeypatch.setattr(Path, "is_mount", lambda path: path == target)
    StageOutput(str(target)).save(made)
    assert {str(path.relative_to(target)) for path in target.rglob("*")} == {"new", "deep", "deep/new"}


def test_an_output_that_cannot_be_put_into_place_is_said_and_kept(tmp_path, monkeypatch):
    made, target = tmp_path / "draft", tmp_path / "target"
    made.mkdir()

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "move", refuse)
    with pytest.raises(ClickException, match=f"Permission denied.*{made}"):
        StageOutput(str(target)).save(made)
    assert made.exists()


def test_what_the_file_system_refuses_ends_a_stage_in_one_line():
    def stage(name: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", name)

    pipeline = stage_pipeline(stage, ["params:x"], None)
    with pytest.raises(ClickException, match=r"/work/file: its disk is full: .*CODIEMB_WORK"):
        pipeline.nodes[0].run({"params:x": "/work/file"})


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


def with_runs(project: Path, runs: dict) -> None:
    """Give the project these runs, and the folder that a training reads."""
    values = read_params(PARAMS_FILE) | {"runs": runs}
    values["merge"]["recipes"] = {"uniform": {"method": "uniform"}}
    (project / "params.yaml").write_text(write_yaml(values))
    (project / "data/05_model_input/examples").mkdir(parents=True, exist_ok=True)


def kedro(project: Path, *arguments: str) -> int:
    """Return the exit code of ``kedro run`` with these arguments, in this process."""
    with pytest.raises(SystemExit) as ended:
        KedroCLI(project).main(["run", *arguments])
    return ended.value.code or 0


NAMES = ["49", "1e-5", "yes", "null", "007", "off", "0x1F", "1_0", "main"]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_trained_under_the_name_it_has_whatever_kedro_reads_it_as(project, name, monkeypatch):
    def train(params, *_, checkpoints: Path, curves: Path, **__) -> None:
        (checkpoints / "trained").write_text(str(params.seed))

    monkeypatch.setattr("codiemb_pipeline.train.run.train_encoder", train)
    with_runs(project, {other: {"seed": number} for number, other in enumerate(NAMES)})
    assert kedro(project, "--pipelines=train", f"--params=run={name}") == 0
    files = [path for path in (project / "data/06_models").rglob("*") if path.is_file()]
    assert files == [Path("data/06_models/checkpoints") / name / "trained"] or files == [
        project / "data/06_models/checkpoints" / name / "trained"
    ]
    assert files[0].read_text() == str(NAMES.index(name))


def test_two_runs_that_kedro_cannot_tell_apart_are_named(project, capsys):
    with_runs(project, {"yes": {}, "true": {}})
    assert kedro(project, "--pipelines=train", "--params=run=yes") == 1
    assert "yes and true" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("runs", "arguments", "said"),
    [
        ({"main": {}}, ["--pipelines=mien"], "did you mean 'mine'?"),
        ({"main": {}}, ["--pipelines=train", "--params=run=mian"], "did you mean 'main'?"),
        ({"hot": {}, "cold": {}}, ["--pipelines=train"], "hot, cold"),
        ({"hot": {}, "cold": {}}, ["--pipelines=mine"], "02_intermediate"),
    ],
)
def test_what_the_command_line_gets_wrong_is_said_in_one_line(project, capsys, runs, arguments, said):
    with_runs(project, runs)
    assert kedro(project, *arguments) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert said in lines[0]


def test_before_mining_the_sources_are_asked_whether_later_stages_can_do_with_them(project, capsys):
    """Otherwise a benchmark without ranks and a batch larger than its source are found after hours."""
    values = tiny_params(write_sources(project / "raw"), Path("no-encoder"))
    values["train"]["batch_size"]["ir"] = 4000
    (project / "params.yaml").write_text(write_yaml(values))
    (project / "data/02_intermediate/sources").mkdir(parents=True)
    (project / "raw/pairs.tsv").write_text("left\tright\tscore\n" + "".join(f"a{n}\tb{n}\t3\n" for n in range(60)))
    ingest_sources(Params.parse(values).ingest, project / "data/02_intermediate/sources")
    assert kedro(project, "--pipelines=mine") == 1
    said = capsys.readouterr().err
    assert "evaluate.benchmarks.Words" in said
    assert "'tags'" in said


def test_a_processor_without_bf16_is_warned_of_before_it_encodes(project, caplog, monkeypatch):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx2": True})
    monkeypatch.setattr("codiemb_pipeline.mine.run.mine_hard_negatives", lambda *_: None)
    values = tiny_params(write_sources(project / "raw"), Path("no-encoder"))
    values["mine"]["precision"] = "bf16"
    (project / "params.yaml").write_text(write_yaml(values))
    (project / "data/02_intermediate/sources").mkdir(parents=True)
    ingest_sources(Params.parse(values).ingest, project / "data/02_intermediate/sources")
    kedro(project, "--pipelines=mine")
    assert any("mine.precision" in record.message and record.levelname == "WARNING" for record in caplog.records)


def test_a_saved_file_is_moved_into_place(tmp_path):
    (tmp_path / "draft.json").write_text("{}")
    dataset = StageOutput(str(tmp_path / "deep" / "metrics.json"))
    dataset.save(tmp_path / "draft.json")
    assert dataset.load().read_text() == "{}"


def test_the_work_folder_can_lie_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("CODIEMB_WORK", str(tmp_path / "elsewhere"))
    assert WorkFolder().load() == tmp_path / "elsewhere"
    assert (tmp_path / "elsewhere").is_dir()
