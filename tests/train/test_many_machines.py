"""Two "machines" on the loopback address: the second joins what the first runs, and the weights are those of one."""

import os
import socket
import subprocess
import sys

import pytest
from launching import SOURCE, changed, train

from codiemb_pipeline.encoder.checkpoint import weights_digest
from codiemb_pipeline.errors import InputError, PipelineError
from codiemb_pipeline.join import join_trainings
from codiemb_pipeline.launch.torchrun import (
    Rendezvous,
    processes_per_node,
    rendezvous_endpoint,
    run_torchrun,
    torchrun_command,
)
from codiemb_pipeline.params.launch import LaunchParams
from codiemb_pipeline.train.run import training_work

LAUNCH = {"nproc_per_node": 1, "nnodes": 1, "rendezvous_endpoint": None, "backend": "gloo", "threads": 1}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def joining(work) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "CODIEMB_WORK": str(work)}
    command = [sys.executable, "-m", "codiemb_pipeline.join", "--idle-minutes", "0.1"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.dist
@pytest.mark.slow
def test_two_machines_of_one_process_train_to_the_weights_of_one_machine_of_two(prepared, tmp_path):
    values, model_input = prepared
    one = train(changed(values, launch={**LAUNCH, "nproc_per_node": 2}), model_input, tmp_path / "one")
    launch = {**LAUNCH, "nnodes": 2, "rendezvous_endpoint": f"127.0.0.1:{free_port()}"}
    second = joining(tmp_path / "two" / "work")
    two = train(changed(values, launch=launch), model_input, tmp_path / "two")
    told, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    assert told.startswith("1 trainings joined")
    names = sorted(path.name for path in one.glob("step-*"))
    assert names == sorted(path.name for path in two.glob("step-*"))
    assert [weights_digest(two / name) for name in names] == [weights_digest(one / name) for name in names]


@pytest.mark.dist
@pytest.mark.slow
def test_a_training_that_fails_fails_on_both_machines_with_the_reason(prepared, tmp_path):
    values, model_input = prepared
    launch = {**LAUNCH, "nnodes": 2, "rendezvous_endpoint": f"127.0.0.1:{free_port()}"}
    second = joining(tmp_path / "work")
    with pytest.raises(PipelineError, match=r"process \d: .*do not fill one global batch") as told:
        train(changed(values, launch=launch, batch_size={"ir": 4, "sts": 400}), model_input, tmp_path)
    assert len(str(told.value).splitlines()) <= 5
    _, errors = second.communicate(timeout=60)
    assert second.returncode != 0
    assert "training failed" in errors
    assert not list((tmp_path / "work/train").glob("*/rendezvous.json"))


def test_a_machine_that_finds_nothing_to_join_says_so_and_stops(tmp_path):
    assert join_trainings(tmp_path, idle_s=0.1) == 0


def test_auto_is_one_process_for_each_core_or_gpu(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    assert processes_per_node(LaunchParams(**{**LAUNCH, "nproc_per_node": "auto"})) == 6
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert processes_per_node(LaunchParams(**{**LAUNCH, "nproc_per_node": "auto", "backend": "nccl"})) == 4
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(InputError, match=r"nproc_per_node: auto with backend nccl: expected GPUs, found none"):
        processes_per_node(LaunchParams(**{**LAUNCH, "nproc_per_node": "auto", "backend": "nccl"}))


def test_the_first_machine_hosts_the_meeting_and_the_others_do_not(tmp_path):
    launch = LaunchParams(**{**LAUNCH, "nnodes": 2, "rendezvous_endpoint": "127.0.0.1:29500"})
    for first in (True, False):
        rendezvous = Rendezvous(launch, rendezvous_endpoint(launch), "m1", first)
        command = torchrun_command(rendezvous, training_work(tmp_path / "resolved.json", tmp_path), tmp_path)
        assert command[command.index("--rdzv-conf") + 1] == f"is_host={first}"
        assert command[command.index("--local-addr") + 1] == "127.0.0.1"


def test_a_port_that_another_program_holds_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        launch = LaunchParams(**{**LAUNCH, "nnodes": 2, "rendezvous_endpoint": endpoint})
        work = training_work(tmp_path / "resolved.json", tmp_path)
        with pytest.raises(InputError, match=f"{endpoint}.*free port"):
            run_torchrun(Rendezvous(launch, endpoint, "m1", first=True), work)


def test_the_environment_says_where_to_meet_before_the_parameters_do(monkeypatch):
    two = LaunchParams(**{**LAUNCH, "nnodes": 2})
    with pytest.raises(InputError, match="CODIEMB_RENDEZVOUS"):
        rendezvous_endpoint(two)
    monkeypatch.setenv("CODIEMB_RENDEZVOUS", "head:29500")
    assert rendezvous_endpoint(two) == "head:29500"
    assert rendezvous_endpoint(two.model_copy(update={"rendezvous_endpoint": "other:1"})) == "head:29500"
    assert rendezvous_endpoint(LaunchParams(**LAUNCH)) is None, "one machine meets nobody"


def test_an_endpoint_without_a_port_is_refused():
    with pytest.raises(ValueError, match="rendezvous_endpoint"):
        LaunchParams(**{**LAUNCH, "nnodes": 2, "rendezvous_endpoint": "node-1"})
