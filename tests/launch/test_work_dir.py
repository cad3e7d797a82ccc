import fcntl
import multiprocessing
import shutil
from pathlib import Path

import pytest

from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.launch import work_dir
from codiemb_pipeline.launch.work_dir import Claims, fingerprint, finish, hold, locked, remove_finished
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


def test_finished_work_stays_until_dvc_starts_what_comes_after(tmp_path, monkeypatch):
    monkeypatch.setattr(work_dir, "started_by_dvc", True)
    monkeypatch.chdir(tmp_path)
    for key, run in (("a", "main"), ("b", "main"), ("c", "hot"), ("unfinished", "main")):
        (tmp_path / "train" / key).mkdir(parents=True)
        if key != "unfinished":
            finish(tmp_path / "train" / key, run)
    left = lambda: {path.name for path in (tmp_path / "train").iterdir()}  # noqa: E731
    assert left() == {"a", "b", "c", "unfinished"}
    remove_finished(tmp_path / "train", "main", but="b")
    assert left() == {"b", "c", "unfinished"}, "the same run under another key"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    remove_finished(tmp_path / "train")
    assert left() == {"b", "c", "unfinished"}, "of another project with the same work folder"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(work_dir, "started_by_dvc", False)
    remove_finished(tmp_path / "train")
    assert left() == {"b", "c", "unfinished"}, "a stage that a person starts says nothing about DVC"
    monkeypatch.setattr(work_dir, "started_by_dvc", True)
    remove_finished(tmp_path / "train")
    assert left() == {"unfinished"}


def test_without_dvc_finished_work_goes_at_once(tmp_path):
    (tmp_path / "a").mkdir()
    finish(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_folder_is_held_until_the_process_ends(tmp_path):
    hold(tmp_path / "draft", "ingest")
    hold(tmp_path / "draft", "ingest")
    with (
        pytest.raises(PipelineError, match="the same ingest is already running"),
        locked(tmp_path / "draft", "ingest", patience_s=0.0),
    ):
        pass


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
