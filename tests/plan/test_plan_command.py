"""`make plan`: what it tells of a small run, and what it says of things that can't be had."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_run import make_model_input, tiny_params, write_sources

from codiemb_pipeline.params import Params
from codiemb_pipeline.plan import reach
from codiemb_pipeline.plan.__main__ import main, plan_lines
from codiemb_pipeline.plan.needs import things_of
from codiemb_pipeline.plan.reach import Reach, Thing, look

PROFILES = sorted((Path(__file__).parents[2] / "conf" / "profiles").glob("*.yaml"))


@pytest.fixture
def project(tmp_path, tiny_encoder_folder, monkeypatch):
    """A project's folder in which assemble has run."""
    values = tiny_params(write_sources(tmp_path / "raw"), tiny_encoder_folder)
    (tmp_path / "made").mkdir()
    made = make_model_input(values, tmp_path / "made")
    (tmp_path / "data/05_model_input").mkdir(parents=True)
    made.rename(tmp_path / "data/05_model_input/examples")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    return values


def test_it_tells_steps_tokens_memory_and_disk_of_what_was_assembled(project):
    told = CliRunner().invoke(main, standalone_mode=False)
    assert told.exception is None
    lines = told.output.splitlines()
    assert any(line.split() == ["steps", "6"] for line in lines)
    assert any(line.strip().startswith("memory") and "GiB a process" in line for line in lines)
    assert any(line.startswith("disk:") and "3 checkpoints and 3 merged models" in line for line in lines)
    assert lines[-1] == "all that is needed is there"


def test_each_run_is_planned_with_its_own_settings(project):
    project["runs"] = {"main": {}, "long": {"max_steps": 9}}
    Path("params.yaml").write_text(yaml.safe_dump(project, sort_keys=False))
    lines = CliRunner().invoke(main).output.splitlines()
    assert [line.split()[1] for line in lines if line.strip().startswith("steps ")] == ["6", "9"]


def test_a_file_that_is_not_there_is_marked_and_counted(project):
    project["ingest"]["sources"]["words"]["path"] = "raw/gone.tsv"
    Path("params.yaml").write_text(yaml.safe_dump(project, sort_keys=False))
    told = CliRunner().invoke(main)
    assert told.exit_code == 0
    assert any(line.startswith("! source") and "gone.tsv" in line for line in told.output.splitlines())
    assert told.output.splitlines()[-1] == "1 of 3 things needed can't be reached"


def test_without_a_network_the_hub_is_not_asked():
    (found,) = look([Thing(kind="benchmark", name="BQ", hub_id="C-MTEB/BQ", revision="0" * 40)])
    assert not found.found
    assert "HF_HUB_OFFLINE is set" in found.where


def test_a_hub_that_does_not_answer_is_not_waited_for(monkeypatch):
    import threading
    import time

    let_go = threading.Event()
    monkeypatch.setattr(reach, "PATIENCE_S", 0.2)
    monkeypatch.setattr(reach, "_here", lambda thing: None)
    monkeypatch.setattr(reach, "_ask_hub", lambda thing: let_go.wait(30) and Reach(thing, True, "late"))
    begin = time.monotonic()
    found = look([Thing(kind="source", name=f"s{number}", hub_id="a/b") for number in range(20)])
    let_go.set()
    assert time.monotonic() - begin < 5
    assert not any(entry.found for entry in found)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_every_profile_is_planned_before_anything_was_read(profile, tmp_path):
    values = yaml.safe_load(profile.read_text(encoding="utf-8"))
    params = Params.parse(values)
    found = look(things_of(params))
    lines = list(plan_lines(params, values["train"], tmp_path, found))
    assert sum(entry.thing.kind == "source" for entry in found) == len(params.ingest.sources)
    assert any(line.startswith("run main") for line in lines)
    assert lines.index("needed") == len(lines) - len(found) - 1
