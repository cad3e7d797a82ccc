"""`make plan`: what it tells of a small run, and what it says of things that can't be had."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_run import make_model_input, tiny_params, write_sources

from codiemb_pipeline.params import Params
from codiemb_pipeline.plan import reach
from codiemb_pipeline.plan.__main__ import main
from codiemb_pipeline.plan.lines import plan_lines
from codiemb_pipeline.plan.needs import things_of
from codiemb_pipeline.plan.reach import Looking, Reach, Thing
from codiemb_pipeline.profiles import profile_titles, read_profile

ROOT = Path(__file__).parents[2]


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


def test_before_assemble_has_run_numbers_are_marked_as_near_or_as_bounds(project):
    shutil.rmtree("data/05_model_input")
    lines = CliRunner().invoke(main).output.splitlines()
    assert any(re.fullmatch(r"  examples   tags  +\d+ ir   counted now, as ingest does", line) for line in lines)
    assert any(line.split()[:3] == ["steps", "6"] for line in lines), "max_steps is met whatever is left out"
    assert any(re.match(r"  an epoch   about \d+ steps", line) for line in lines)
    (tokens,) = (line for line in lines if line.startswith("  tokens"))
    assert re.match(r"  tokens     at most [\d,]+; up to", tokens)
    assert "as long as encoder.max_length" in tokens


def test_without_a_network_the_hub_is_not_asked():
    (found,) = Looking([Thing(kind="benchmark", name="BQ", hub_id="C-MTEB/BQ", revision="0" * 40)]).all()
    assert not found.found
    assert "HF_HUB_OFFLINE is set" in found.where


def test_a_hub_that_does_not_answer_is_not_waited_for(monkeypatch):
    let_go = threading.Event()
    monkeypatch.setattr(reach, "PATIENCE_S", 0.2)
    monkeypatch.setattr(reach, "_here", lambda thing: None)
    monkeypatch.setattr(reach, "_ask_hub", lambda thing: let_go.wait(30) and Reach(thing, True, "late"))
    begin = time.monotonic()
    looking = Looking([Thing(kind="source", name=f"s{number}", hub_id="a/b") for number in range(20)])
    found = looking.all()
    assert time.monotonic() - begin < 5
    let_go.set()
    time.sleep(0.1)
    assert looking.all() == found, "an answer that comes too late changes nothing of what was told"
    assert not any(entry.found for entry in found)


def test_answers_come_in_the_order_of_the_questions_and_that_about_the_encoder_alone(monkeypatch):
    let_go = threading.Event()
    monkeypatch.setattr(reach, "_here", lambda thing: None if thing.hub_id else Reach(thing, True, "here"))

    def ask(thing: Thing) -> Reach:
        if thing.kind == "source":
            let_go.wait(30)
        return Reach(thing, True, "there")

    monkeypatch.setattr(reach, "_ask_hub", ask)
    things = [Thing(kind="source", name="slow", hub_id="a/b"), Thing(kind="encoder", name="quick", hub_id="a/c")]
    looking = Looking([*things, Thing(kind="benchmark", name="local", path=".")])
    assert looking.encoder().thing.name == "quick"
    assert not let_go.is_set()
    let_go.set()
    assert [entry.thing.name for entry in looking.all()] == ["slow", "quick", "local"]


SILENT = """
import sys, time
from codiemb_pipeline.plan import __main__, reach
assert "torch" not in sys.modules, "the hub is asked while torch is imported, so not after it"
reach.PATIENCE_S = 0.1
reach._here = lambda thing: None
reach._ask_hub = lambda thing: time.sleep(60)
reach.Looking([reach.Thing(kind="encoder", name="e", hub_id="a/b")]).all()
"""


def test_questions_without_an_answer_do_not_keep_the_command_from_ending():
    source = str(Path(__file__).parents[2] / "src")
    subprocess.run([sys.executable, "-c", SILENT], check=True, timeout=30, env={**os.environ, "PYTHONPATH": source})


def plan_of(values: dict, root: Path) -> list[str]:
    params = Params.parse(values)
    return list(plan_lines(params, values, root, Looking(things_of(params))))


@pytest.mark.parametrize("profile", profile_titles(ROOT))
def test_every_profile_is_planned_before_anything_was_read(profile, tmp_path):
    values = read_profile(profile, ROOT)
    lines = plan_of(values, tmp_path)
    needed = lines[lines.index("needed") + 1 :]
    assert sum(line[2:].startswith("source") for line in needed) == len(values["ingest"]["sources"])
    assert len(needed) == len(things_of(Params.parse(values)))
    assert any(line.startswith("run main") for line in lines)
    if profile != "custom":  # whose files are the user's to put there
        assert any(line.startswith("  steps      about ") for line in lines)
        assert any(line.startswith("  tokens     at most ") for line in lines)
        assert any(line.startswith("disk: ") for line in lines)
        names = {line[13:].split()[0] for line in lines[1 : 1 + len(values["assemble"]["train_sources"])]}
        assert names == set(values["assemble"]["train_sources"])


def test_the_size_of_an_encoder_out_of_reach_is_told_once_its_config_is_in_a_folder(project, tiny_encoder_folder):
    project["encoder"] |= {"path": "someone/encoder", "revision": "0" * 40}
    lines = plan_of(project, Path())
    assert (
        "  unknown    memory and disk: someone/encoder can't be reached; its size stands in its config.json alone: "
        in ("\n".join(lines))
    )
    assert "disk: unknown for 3 checkpoints and 3 merged models, here and in DVC's cache" in lines
    assert not any(line.startswith("  memory") for line in lines)
    Path("size").mkdir()
    shutil.copy(tiny_encoder_folder / "config.json", "size")
    project["encoder"] |= {"path": "size", "revision": None}
    lines = plan_of(project, Path())
    assert any(line.startswith("  memory") and "GiB a process" in line for line in lines)
    assert any(re.match(r"disk: \d+\.\d GiB for 3 checkpoints", line) for line in lines)
