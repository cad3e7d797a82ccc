"""A process that DVC starts ends with it, whenever DVC is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codiemb_pipeline.process_guard import STARTED_BY

SOURCE = Path(__file__).parents[1] / "src"
STAGE = "import codiemb_pipeline, os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
PARENT = r"""
import os, subprocess, sys, time
command = f"{sys.argv[2]}=$PPID exec {sys.executable} -c \"$STAGE\" {sys.argv[1]}"
subprocess.Popen(["sh", "-c", command if sys.argv[2] else command.removeprefix("=$PPID ")])
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def until(holds, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize(("variable", "ends"), [(STARTED_BY, True), ("", False)])
def test_a_stage_ends_with_dvc_and_what_a_person_started_goes_on(tmp_path, number, variable, ends):
    environment = {**os.environ, "STAGE": STAGE, "PYTHONPATH": str(SOURCE)}
    note = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(note), variable], env=environment)
    assert until(lambda: note.exists() and note.read_text())
    stage = int(note.read_text())
    try:
        parent.send_signal(number)
        parent.wait()
        assert until(lambda: not is_alive(stage), 5.0 if ends else 0.5) == ends
    finally:
        if is_alive(stage):
            os.kill(stage, signal.SIGKILL)


def test_a_stage_whose_dvc_ended_before_it_began_ends_at_once():
    gone = subprocess.Popen(["true"])
    gone.wait()
    environment = {**os.environ, STARTED_BY: str(gone.pid), "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", "import codiemb_pipeline; print(1)"], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL


def test_the_processes_of_a_stage_are_not_asked_to_watch_dvc():
    code = f"import os, codiemb_pipeline; print(os.environ.get({STARTED_BY!r}))"
    environment = {**os.environ, STARTED_BY: str(os.getpid()), "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == "None\n"
