"""Every job is given out once, whoever asks, and a killed process leaves the others able to go on."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

from codiemb_pipeline.launch.claims import Claims


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
