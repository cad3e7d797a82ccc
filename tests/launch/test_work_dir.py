import fcntl
import multiprocessing
import shutil
from pathlib import Path

import pytest

from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.launch.work_dir import Claims, fingerprint, locked
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


def take_all(path: Path, count: int, found) -> None:
    found.put(list(Claims(path).take(count)))


def test_three_processes_get_every_number_once(tmp_path):
    context = multiprocessing.get_context("fork")
    found = context.Queue()
    processes = [context.Process(target=take_all, args=(tmp_path / "claims", 500, found)) for _ in range(3)]
    for process in processes:
        process.start()
    parts = [found.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(number for part in parts for number in part) == list(range(500))
    assert all(part == sorted(part) for part in parts)


def test_numbers_go_on_where_another_stopped(tmp_path):
    claims = Claims(tmp_path / "claims")
    taking = claims.take(5)
    assert [next(taking), next(taking)] == [0, 1]
    assert list(Claims(tmp_path / "claims").take(5)) == [2, 3, 4]
    assert list(taking) == []


def test_a_file_that_was_emptied_half_way_through_a_write_begins_again(tmp_path):
    """At worst a job is done twice, never left out."""
    (tmp_path / "claims").write_text("")
    assert list(Claims(tmp_path / "claims").take(2)) == [0, 1]
