"""Progress where there is no terminal: lines of the log, few, with the right numbers."""

import re

import pytest
import tqdm.std

from codiemb_pipeline.progress import ProgressBar, duration


class Clock:
    """A clock that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(tqdm.std, "time", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_a_line_every_ten_seconds_and_one_at_the_end(clock, caplog, capfd):
    caplog.set_level("INFO")
    with ProgressBar(total=4000, desc="encode tags", unit="texts") as bar:
        for _ in range(40):
            clock.now += 1
            bar.update(100)
    said = caplog.messages
    assert said[0] == "encode tags: 1,000 of 4,000 texts (25%), 100 a second, 30 s left"
    counts = [int(re.match(r"encode tags: (\d),000 ", line)[1]) for line in said]
    assert counts == [1, 2, 3, 4, 4]
    assert said[-1] == "encode tags: 4,000 of 4,000 texts (100%) in 40 s"
    assert capfd.readouterr() == ("", "")


def test_what_is_done_in_seconds_says_nothing(clock, caplog):
    caplog.set_level("INFO")
    for _ in ProgressBar(range(100), desc="audit", unit="examples"):
        clock.now += 0.05
    assert caplog.messages == []


@pytest.mark.parametrize("loop", [True, False])
def test_a_day_is_some_hundred_lines_and_every_item_counts_once(clock, caplog, loop):
    caplog.set_level("INFO")
    steps, seconds = 20_000, 86_400 / 20_000
    if loop:
        for _ in ProgressBar(range(steps), desc="train", unit="steps"):
            clock.now += seconds
    else:
        with ProgressBar(total=steps, desc="train", unit="steps") as bar:
            for _ in range(steps):
                clock.now += seconds
                bar.update()
    assert 100 < len(caplog.messages) < 300
    assert caplog.messages[-1] == "train: 20,000 of 20,000 steps (100%) in 24 h"
    counts = [int(re.search(r": ([\d,]+) of", line)[1].replace(",", "")) for line in caplog.messages]
    assert counts == sorted(counts)


def test_time_left_is_that_of_the_last_lines_and_not_of_what_an_earlier_run_did(clock, caplog):
    caplog.set_level("INFO")
    with ProgressBar(total=1000, initial=900, desc="train", unit="steps") as bar:
        for _ in range(10):
            clock.now += 2
            bar.update()
    assert "0.5 a second" in caplog.messages[0]
    assert "190 s left" not in caplog.text
    assert "3.2 min left" in caplog.messages[0], "95 steps of two seconds each"


def test_without_a_total_there_is_no_time_left(clock, caplog):
    caplog.set_level("INFO")
    with ProgressBar(desc="read", unit="rows") as bar:
        clock.now += 10
        bar.set_postfix_str("of a.jsonl", refresh=False)
        bar.update(1_000_000)
    assert caplog.messages[0] == "read: 1,000,000 rows, 1e+05 a second, of a.jsonl"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (90, "90 s"), (150, "2.5 min"), (3 * 3600, "3.0 h"), (30 * 86400, "30 days")]
)
def test_times_in_words(seconds, words):
    assert duration(seconds) == words
