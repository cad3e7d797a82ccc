"""Work in two processes of this machine: the one that fails is named, not those it left waiting."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.launch.torchrun import Jobs, Work, run_here
from codiemb_pipeline.launch.work_dir import locked

pytestmark = [pytest.mark.dist, pytest.mark.slow]


def run(folder: Path, fails: int | None, how: str = "error") -> None:
    work = Work(
        name="testing",
        function="failing_work:work",
        config=folder / "config.json",
        folder=folder,
        to_lower="nothing",
        kept="nothing is kept",
    )
    with locked(folder, "testing") as lock:
        write_json(work.config, {"folder": str(folder), "fails": fails, "how": how})
        run_here(2, work, Jobs(lambda: (len(list(folder.glob("*.done"))), 6), "jobs"), lock)


@pytest.mark.parametrize("fails", [0, 1])
def test_the_process_that_failed_is_named_and_not_the_one_that_waited_for_it(fails, tmp_path):
    with pytest.raises(PipelineError) as told:
        run(tmp_path, fails)
    lines = str(told.value).splitlines()
    assert lines[0] == f"testing failed: process {fails}: ValueError: this one could not"
    assert lines[1].startswith("log: ")
    assert "this one could not" in Path(lines[1].removeprefix("log: ")).read_text()
    assert lines[2] == "nothing is kept"


@pytest.mark.parametrize(("how", "said"), [("sigbus", "/dev/shm"), ("silent", "is full: make room")])
def test_a_process_that_cannot_say_why_it_ended_is_explained(how, said, tmp_path, monkeypatch):
    if how == "silent":  # what a process leaves that can't write
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(PipelineError) as told:
        run(tmp_path, 0, how)
    assert said in str(told.value)


def test_what_all_processes_do_is_done(tmp_path):
    run(tmp_path, None)
    assert len(list(tmp_path.glob("*.done"))) == 6
