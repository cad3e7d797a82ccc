from __future__ import annotations

import fcntl
import shutil

import pytest

from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.launch.work_dir import fingerprint, locked
from codiemb_pipeline.locations import folder_digest


def test_a_second_run_is_refused_while_the_first_holds_the_folder(tmp_path):
    with (
        locked(tmp_path / "run", "mining"),
        pytest.raises(PipelineError, match="the same mining is already running"),
        locked(tmp_path / "run", "mining", patience_s=0.0),
    ):
        pass
    with locked(tmp_path / "run", "mining", patience_s=0.0):
        pass


def test_who_waited_gets_the_folder_anew_and_alone_when_it_was_deleted_meanwhile(tmp_path):
    """As a run does when it is finished: a lock that went with the folder would now be held by two."""
    with locked(tmp_path / "run", "mining"):
        waiting = (tmp_path / "run.lock").open("a+")
        shutil.rmtree(tmp_path / "run")
    fcntl.flock(waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with pytest.raises(PipelineError, match="already running"), locked(tmp_path / "run", "mining", patience_s=0.0):
        pass
    waiting.close()
    with locked(tmp_path / "run", "mining", patience_s=0.0):
        assert (tmp_path / "run").is_dir()


def test_any_part_changes_the_fingerprint():
    base = fingerprint(train={"seed": 1}, data="a")
    assert fingerprint(train={"seed": 1}, data="a") == base
    assert len({base, fingerprint(train={"seed": 2}, data="a"), fingerprint(train={"seed": 1}, data="b")}) == 3


def test_digest_sees_names_and_bytes(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/x").write_text("1")
    (tmp_path / "b/y").write_text("1")
    (tmp_path / "c/x").write_text("2")
    assert len({folder_digest(tmp_path / name) for name in ("a", "b", "c")}) == 3
