"""Readers of scored pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from source_files import ALL_TRAIN, counts, ingest, pairs_source, rejects, table, write_lines

from codiemb_pipeline.errors import InputError

ROWS = [("a cat", "a dog", 1.0), ("a bird", "a fish", 3.0), ("red", "blue", 5.0)]


def write_pairs(path: Path, rows: list[tuple] = ROWS) -> Path:
    """Write the rows in the format that the suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(rows, columns=["left", "right", "gold"])
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def words_source(path: Path, **changes: Any) -> dict[str, Any]:
    source = {"task": "sts", "reader": "word_pairs", "path": str(path), "splits": ALL_TRAIN, "score_range": [0, 10]}
    return source | changes


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet"])
def test_gold_is_rescaled_from_the_declared_range_whatever_the_format(tmp_path: Path, suffix: str) -> None:
    """From [1, 5]: (1 - 1) / 4 = 0, (3 - 1) / 4 = 0.5, (5 - 1) / 4 = 1."""
    path = write_pairs(tmp_path / f"pairs.{suffix}")
    out = ingest(tmp_path / "out", pairs_source(path, score_range=[1, 5]))
    expected = [("a cat", "a dog", 0.0), ("a bird", "a fish", 0.5), ("red", "blue", 1.0)]
    assert [row[1:4] for row in table(out, "pairs")] == expected


def test_a_range_may_start_below_zero(tmp_path: Path) -> None:
    """From [-1, 1]: (0.5 + 1) / 2 = 0.75."""
    path = write_pairs(tmp_path / "pairs.csv", [("a", "b", 0.5)])
    out = ingest(tmp_path / "out", pairs_source(path, score_range=[-1, 1]))
    assert [row[3] for row in table(out, "pairs")] == [0.75]


def test_a_folder_keeps_the_splits_of_its_files_and_no_two_pairs_one_id(tmp_path: Path) -> None:
    write_pairs(tmp_path / "set/train.parquet", ROWS[:2])
    write_pairs(tmp_path / "set/test.parquet", ROWS[2:])
    out = ingest(tmp_path / "out", pairs_source(tmp_path / "set", splits=None))
    assert counts(out)["splits"] == {"train": 2, "dev": 0, "test": 1}
    assert sorted(row[0] for row in table(out, "pairs")) == ["test-1", "train-1", "train-2"]


def test_two_files_of_one_split_are_an_error(tmp_path: Path) -> None:
    write_pairs(tmp_path / "set/train.csv")
    write_pairs(tmp_path / "set/train.jsonl")
    with pytest.raises(InputError, match=r"expected one file a split, found train\.csv and train\.jsonl"):
        ingest(tmp_path / "out", pairs_source(tmp_path / "set", splits=None))


def test_a_pair_of_a_later_split_leaves_the_earlier_ones_in_either_order(tmp_path: Path) -> None:
    write_pairs(tmp_path / "set/train.csv", [("a cat", "a dog", 1), ("Blue!", "RED", 2), ("a fish", "a bird", 3)])
    write_pairs(tmp_path / "set/dev.csv", [("a bird", "a fish", 3), ("one", "two", 1)])
    write_pairs(tmp_path / "set/test.csv", [("red", "blue", 5), ("two", "one", 1)])
    out = ingest(tmp_path / "out", pairs_source(tmp_path / "set", splits=None))
    kept = {(row[4], row[1], row[2]) for row in table(out, "pairs")}
    test = {("test", "red", "blue"), ("test", "two", "one")}
    assert kept == test | {("train", "a cat", "a dog"), ("dev", "a bird", "a fish")}
    assert counts(out)["filtered"] == {"pairs in a later split too": 3}


def test_word_lists_skip_comments_and_keep_the_first_of_a_repeated_pair(tmp_path: Path) -> None:
    lines = [
        "# a comment\tof three\tfields",
        "tiger\ttiger\t10",
        "bank\tmoney\t7.5\r",
        "money\tbank\t8.5",
        "",
        "a\tb\t0",
    ]
    path = write_lines(tmp_path / "words.txt", lines)
    out = ingest(tmp_path / "out", words_source(path))
    expected = [("tiger", "tiger", 1.0), ("bank", "money", 0.75), ("a", "b", 0.0)]
    assert [row[1:4] for row in table(out, "pairs")] == expected
    assert counts(out)["rows"] == 4
    assert counts(out)["filtered"] == {"pairs that repeat": 1}


def test_a_word_line_of_other_than_three_fields_is_a_bad_row(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "words.txt", ["a\tb\t1", "c d 2", "e\tf\t3"])
    out = ingest(tmp_path / "out", words_source(path), tolerance=0.5)
    found = [(entry["row"], entry["reason"]) for entry in rejects(out)]
    assert found == [(2, "expected word, word, score; found 'c d 2'")]


def lee_source(folder: Path, documents: bytes, scores: bytes) -> dict[str, Any]:
    folder.mkdir()
    (folder / "lee.cor").write_bytes(documents)
    (folder / "similarities0-1.txt").write_bytes(scores)
    return words_source(folder, reader="lee", score_range=[0, 1])


def test_lee_pairs_are_the_upper_triangle_without_the_diagonal(tmp_path: Path) -> None:
    source = lee_source(tmp_path / "lee", b"one \xa31\ntwo\nthree", b"1\t0.2\t0.3\n0\t1\t0.4\n0\t0\t1\n")
    out = ingest(tmp_path / "out", source)
    expected = [("1-2", "one £1", "two", 0.2), ("1-3", "one £1", "three", 0.3), ("2-3", "two", "three", 0.4)]
    assert [row[:4] for row in table(out, "pairs")] == expected


def test_lee_scores_of_another_shape_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"similarities0-1\.txt: expected 2 rows and columns"):
        ingest(tmp_path / "out", lee_source(tmp_path / "shape", b"one\ntwo", b"1\t0.2\t0.3\n0\t1\t0.4\n"))


@pytest.mark.parametrize("score", [b"nan", b"\xff", b"2", b""])
def test_a_bad_score_of_lee_is_named_by_row_and_column(tmp_path: Path, score: bytes) -> None:
    source = lee_source(tmp_path / "lee", b"one\ntwo\nthree", b"1\t0.2\t%b\n0\t1\t0.4\n0\t0\t1\n" % score)
    out = ingest(tmp_path / "out", source, tolerance=0.5)
    assert [(entry["row"], entry["field"]) for entry in rejects(out)] == [(1, "column 3")]


def test_the_rejects_name_a_file_as_the_params_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "set/train.csv", [("a", "b", 1), ("c", "d", 9)])
    out = ingest(tmp_path / "out", pairs_source(Path("set"), splits=None), tolerance=0.5)
    assert [entry["file"] for entry in rejects(out)] == ["set/train.csv"]
    assert str(tmp_path) not in json.dumps(rejects(out))
