from pathlib import Path
from unittest.mock import Mock

import pytest

from codiemb_pipeline.train.events import EventWriter, keep_until, read_events, write_curves


def write(path: Path) -> None:
    writer = EventWriter(path, active=True)
    writer.write("start", step=0)
    writer.write("step", task="ir", step=1, epoch=0, loss=1.25)
    writer.write("step", task="sts", step=2, epoch=0, loss=2.5, pearson=0.5)
    writer.write("dev", step=2, scores={"mean": 0.5})
    writer.write("step", task="ir", step=3, epoch=1, loss=1.0)
    writer.close()


def test_a_run_that_goes_on_forgets_what_came_after_its_checkpoint(tmp_path):
    write(tmp_path / "e")
    keep_until(tmp_path / "e", 2)
    assert [(event["kind"], event["step"]) for event in read_events(tmp_path / "e")] == [
        ("step", 1),
        ("step", 2),
        ("dev", 2),
    ]


def test_a_kill_while_events_are_dropped_leaves_all_of_them(tmp_path, monkeypatch):
    write(tmp_path / "e")
    before = (tmp_path / "e").read_bytes()
    monkeypatch.setattr(Path, "replace", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        keep_until(tmp_path / "e", 2)
    assert (tmp_path / "e").read_bytes() == before


def test_a_line_cut_by_a_kill_is_left_out(tmp_path):
    write(tmp_path / "e")
    with (tmp_path / "e").open("a") as file:
        file.write('{"kind": "step", "st')
    assert len(list(read_events(tmp_path / "e"))) == 5


def test_curves_have_one_table_per_task_and_one_of_dev_scores(tmp_path):
    write(tmp_path / "e")
    write_curves(tmp_path / "e", tmp_path / "out")
    assert (tmp_path / "out/ir.csv").read_text() == "step,epoch,loss\n1,0,1.25\n3,1,1.0\n"
    assert (tmp_path / "out/sts.csv").read_text() == "step,epoch,loss,pearson\n2,0,2.5,0.5\n"
    assert (tmp_path / "out/dev.csv").read_text() == "step,mean\n2,0.5\n"


def test_other_processes_write_nothing(tmp_path):
    EventWriter(tmp_path / "e", active=False).write("start")
    assert not (tmp_path / "e").exists()
