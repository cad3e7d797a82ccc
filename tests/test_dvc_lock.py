"""A damaged dvc.lock, and the copy that stages keep."""

import pytest

from codiemb_pipeline.dvc_lock import COPY, LOCK, is_whole, keep_copy, restore

WHOLE = "schema: '2.0'\nstages:\n  ingest:\n    cmd: kedro run\n"


@pytest.mark.parametrize("part", ["", "schema: '2.0'\n", "schema: '2.0'\nstages:\n  ingest:\n  - [", "\0\0\0"])
def test_a_part_of_a_lock_is_replaced_by_the_last_whole_one(tmp_path, monkeypatch, part):
    monkeypatch.chdir(tmp_path)
    assert is_whole()
    LOCK.write_text(WHOLE)
    keep_copy()
    LOCK.write_text(part)
    keep_copy()
    assert COPY.read_text() == WHOLE, "a part is no copy to keep"
    assert not is_whole()
    restore()
    assert LOCK.read_text() == WHOLE
    assert (tmp_path / "dvc.lock.damaged").read_text() == part


def test_a_whole_lock_is_left_alone_and_without_a_copy_there_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LOCK.write_text(WHOLE)
    restore()
    assert LOCK.read_text() == WHOLE
    LOCK.write_text("")
    restore()
    assert not LOCK.exists()
