"""A real launch of two processes on a tiny encoder: it ends, resumes after a kill, reports errors, leaves no orphan."""

import dataclasses
import json
import os
import re
import shutil
import signal
import threading
from pathlib import Path

import pytest
import torch
from launching import changed, parent_of, start, train, train_cut_short, wait_for, workers
from safetensors.torch import load_file

from codiemb_pipeline import progress
from codiemb_pipeline.artifacts.train import TrainedRun
from codiemb_pipeline.encoder.checkpoint import weights_digest
from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.launch import work_dir
from codiemb_pipeline.train import run

pytestmark = [pytest.mark.dist, pytest.mark.slow]


def test_killed_halfway_it_goes_on_from_its_last_checkpoint_to_the_same_weights(
    prepared, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(progress, "FIRST_S", 0.01)
    caplog.set_level("INFO")
    values, model_input = prepared
    values = changed(values, max_steps=30, epochs=15)
    whole = train(values, model_input, tmp_path / "whole")
    state = train_cut_short(values, model_input, tmp_path / "cut")
    left = {path.name for path in state.glob("*/checkpoints/step-*")}
    assert left, "nothing was kept"
    said = re.compile(r"train: (\d+) of 30 steps \(.+\), .+ a second, .+ left, (ir|sts) loss \d+\.\d+")
    assert any(map(said.match, caplog.messages)), caplog.messages
    caplog.clear()
    monkeypatch.setattr(work_dir, "started_by_dvc", True)
    resumed = train(values, model_input, tmp_path / "cut")
    begun = min(int(found[1]) for line in caplog.messages if (found := said.match(line)))
    assert begun > min(int(name.removeprefix("step-")) for name in left), "progress goes on where it was"
    names = [entry.name for entry in TrainedRun.of(whole).checkpoints]
    assert [entry.name for entry in TrainedRun.of(resumed).checkpoints] == names
    assert [weights_digest(resumed / name) for name in names] == [weights_digest(whole / name) for name in names]
    assert (tmp_path / "cut/curves/dev.csv").read_text() == (tmp_path / "whole/curves/dev.csv").read_text()
    base = TrainedRun.of(whole).base
    assert (base.name, base.step) == ("step-000000", 0)
    steps = [line.split(",")[0] for line in (tmp_path / "whole/curves/dev.csv").read_text().splitlines()]
    assert steps == ["step", "0", *(str(entry.step) for entry in TrainedRun.of(whole).checkpoints)]
    shutil.rmtree(resumed)  # as DVC does with what dvc.lock does not hold yet
    monkeypatch.setattr(run, "launch_training", None)
    again = train(values, model_input, tmp_path / "cut")
    assert [weights_digest(again / name) for name in names] == [weights_digest(whole / name) for name in names]
    given = load_file(Path(values["encoder"]["path"]) / "model.safetensors")
    for name, weight in load_file(whole / base.name / "model.safetensors").items():
        assert torch.equal(weight, given[name]), name


@pytest.mark.parametrize(
    ("victim", "number"), [("kedro", signal.SIGTERM), ("torchrun", signal.SIGTERM), ("torchrun", signal.SIGKILL)]
)
def test_no_process_outlives_the_one_that_was_killed(prepared, tmp_path, victim, number):
    """Kedro's SIGKILL is what ``train_cut_short`` sends, and looks for the same."""
    values, model_input = prepared
    values = changed(values, max_steps=5000, epochs=5000)
    process = start(values, model_input, tmp_path)
    try:
        assert wait_for(lambda: list((tmp_path / "work/train").glob("*/state/step-*")))
        target = process.pid
        if victim == "torchrun":
            target = next(pid for pid in workers(tmp_path) if parent_of(pid) == process.pid)
        os.kill(target, number)
        assert wait_for(lambda: not workers(tmp_path), 20)
    finally:
        process.kill()
        process.wait()


def test_a_worker_killed_for_memory_is_named(prepared, tmp_path):
    values, model_input = prepared
    values = changed(values, max_steps=5000, epochs=5000)

    def kill_one() -> None:
        if wait_for(lambda: list((tmp_path / "work/train").glob("*/state/step-*"))):
            entries = [pid for pid in workers(tmp_path) if b"train.entry" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            leaves = [pid for pid in entries if parent_of(pid) in entries]
            os.kill(max(leaves), signal.SIGKILL)

    thread = threading.Thread(target=kill_one)
    thread.start()
    with pytest.raises(PipelineError, match=r"process \d was killed by SIGKILL .*out of memory"):
        train(values, model_input, tmp_path)
    thread.join()


def test_processes_on_different_tasks_in_one_step_finish_and_leave_no_wrapped_model(prepared, tmp_path, monkeypatch):
    """A model that is left ends the group itself, holding Python's lock, and now and then waits forever."""
    values, model_input = prepared
    sampler = {**values["train"]["sampler"], "mode": "mixed"}
    ir = {**values["train"]["ir"], "cross_device": False}
    monkeypatch.setenv("WATCHED", str(tmp_path))
    own = run.training_work
    watched = {"function": "watched_entry:train"}
    monkeypatch.setattr(run, "training_work", lambda *places: dataclasses.replace(own(*places), **watched))
    train(changed(values, sampler=sampler, ir=ir), model_input, tmp_path)
    for task in ("ir", "sts"):
        rows = (tmp_path / "curves" / f"{task}.csv").read_text().splitlines()
        assert len(rows) > 1, task
    told = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert told == [{"made": 1, "alive": 0}] * 2
