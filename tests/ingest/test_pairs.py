"""Readers of scored pairs: users' files and registered sources, C-MTEB's, CLUE's three classes, QBQTC's jsonl."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_files import (
    ALL_TRAIN,
    HALF,
    counts,
    ingest,
    pairs_source,
    rejects,
    run_registered,
    table,
    write_cmteb,
    write_lines,
)

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.pairs import rescale
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES
from codiemb_pipeline.ingest.validation import Batch, RejectLog
from codiemb_pipeline.texts import pair_key

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
def test_gold_is_rescaled_from_the_declared_range_whatever_the_format(tmp_path, suffix):
    """From [1, 5]: (1 - 1) / 4 = 0, (3 - 1) / 4 = 0.5, (5 - 1) / 4 = 1."""
    path = write_pairs(tmp_path / f"pairs.{suffix}")
    out = ingest(tmp_path / "out", pairs_source(path, score_range=[1, 5]))
    expected = [("a cat", "a dog", 0.0), ("a bird", "a fish", 0.5), ("red", "blue", 1.0)]
    assert [row[1:4] for row in table(out, "pairs")] == expected


def test_a_folder_keeps_the_splits_of_its_files_and_no_two_pairs_one_id(tmp_path):
    write_pairs(tmp_path / "set/train.parquet", ROWS[:2])
    write_pairs(tmp_path / "set/test.parquet", ROWS[2:])
    out = ingest(tmp_path / "out", pairs_source(tmp_path / "set", splits=None))
    assert counts(out)["splits"] == {"train": 2, "dev": 0, "test": 1}
    assert sorted(row[0] for row in table(out, "pairs")) == ["test-1", "train-1", "train-2"]


def test_two_files_of_one_split_are_an_error(tmp_path):
    write_pairs(tmp_path / "set/train.csv")
    write_pairs(tmp_path / "set/train.jsonl")
    with pytest.raises(InputError, match=r"expected one file for train, found train\.csv and train\.jsonl"):
        ingest(tmp_path / "out", pairs_source(tmp_path / "set", splits=None))


def test_a_pair_of_a_later_split_leaves_the_earlier_ones_in_either_order(tmp_path):
    write_pairs(tmp_path / "set/train.csv", [("a cat", "a dog", 1), ("Blue ", "RED", 2), ("a fish", "a bird", 3)])
    write_pairs(tmp_path / "set/dev.csv", [("a bird", "a fish", 3), ("one", "two", 1)])
    write_pairs(tmp_path / "set/test.csv", [("red", "blue", 5), ("two", "one", 1)])
    out = ingest(tmp_path / "out", pairs_source(tmp_path / "set", splits=None))
    kept = {(row[4], row[1], row[2]) for row in table(out, "pairs")}
    test = {("test", "red", "blue"), ("test", "two", "one")}
    assert kept == test | {("train", "a cat", "a dog"), ("dev", "a bird", "a fish")}
    assert counts(out)["filtered"] == {"pairs in a later split too": 3}


def test_word_lists_skip_comments_and_average_a_pair_with_two_scores(tmp_path):
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
    expected = [("tiger", "tiger", 1.0), ("bank", "money", 0.8), ("a", "b", 0.0)]
    assert [row[1:4] for row in table(out, "pairs")] == expected
    assert counts(out)["rows"] == 4
    assert counts(out)["filtered"] == {"pairs repeated with another score, averaged": 1}


def test_a_word_line_of_other_than_three_fields_is_a_bad_row(tmp_path):
    path = write_lines(tmp_path / "words.txt", ["a\tb\t1", "c d 2", "e\tf\t3"])
    out = ingest(tmp_path / "out", words_source(path), tolerance=0.5)
    found = [(entry["row"], entry["reason"]) for entry in rejects(out)]
    assert found == [(2, "expected word, word, score; found 'c d 2'")]


def lee_source(folder: Path, documents: bytes, scores: bytes) -> dict[str, Any]:
    folder.mkdir()
    (folder / "lee.cor").write_bytes(documents)
    (folder / "similarities0-1.txt").write_bytes(scores)
    return words_source(folder, reader="lee", score_range=[0, 1])


def test_lee_pairs_are_the_upper_triangle_without_the_diagonal(tmp_path):
    source = lee_source(tmp_path / "lee", b"one \xa31\ntwo\nthree", b"1\t0.2\t0.3\n0\t1\t0.4\n0\t0\t1\n")
    out = ingest(tmp_path / "out", source)
    expected = [("1-2", "one £1", "two", 0.2), ("1-3", "one £1", "three", 0.3), ("2-3", "two", "three", 0.4)]
    assert [row[:4] for row in table(out, "pairs")] == expected


def test_lee_scores_of_another_shape_are_an_error_that_names_the_file(tmp_path):
    with pytest.raises(InputError, match=r"similarities0-1\.txt: expected 2 rows and columns"):
        ingest(tmp_path / "out", lee_source(tmp_path / "shape", b"one\ntwo", b"1\t0.2\t0.3\n0\t1\t0.4\n"))


@pytest.mark.parametrize("score", [b"nan", b"\xff", b"2", b""])
def test_a_bad_score_of_lee_is_named_by_row_and_column(tmp_path, score):
    source = lee_source(tmp_path / "lee", b"one\ntwo\nthree", b"1\t0.2\t%b\n0\t1\t0.4\n0\t0\t1\n" % score)
    out = ingest(tmp_path / "out", source, tolerance=0.5)
    assert [(entry["row"], entry["field"]) for entry in rejects(out)] == [(1, "column 3")]


def test_the_rejects_name_a_file_as_the_params_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "set/train.csv", [("a", "b", 1), ("c", "d", 9)])
    out = ingest(tmp_path / "out", pairs_source(Path("set"), splits=None), tolerance=0.5)
    assert [entry["file"] for entry in rejects(out)] == ["set/train.csv"]
    assert str(tmp_path) not in json.dumps(rejects(out))


NUMBERS = st.floats(-1e6, 1e6)


def rescaled(score: float, score_range: tuple) -> tuple[float, RejectLog]:
    batch, log = Batch("file", [1], {"gold": [score]}), RejectLog("mine", rows=1)
    gold = rescale(batch, "gold", score_range)[0]
    batch.close(log)
    return gold, log


@pytest.mark.parametrize(
    ("score", "score_range", "gold"),
    [(7.2, (0, 10), 0.72), (0, (-1, 1), 0.5), (1, (1, 5), 0.0), (5, (1, 5), 1.0), (2, (1, 5), 0.25)],
)
def test_defect_11_gold_is_the_place_of_the_score_in_its_range(score, score_range, gold):
    assert rescaled(score, score_range)[0] == pytest.approx(gold, abs=1e-15)


@pytest.mark.parametrize("score", [0.999, 5.001, -1.0, math.nan, math.inf])
def test_a_score_outside_its_range_is_never_clipped(score):
    (found,) = rescaled(score, (1.0, 5.0))[1].rejects
    assert (found["row"], found["field"]) == (1, "gold")


@given(NUMBERS, NUMBERS, NUMBERS)
def test_gold_stays_within_0_and_1(a, b, c):
    low, score, high = sorted((a, b, c))
    if low < high:
        assert 0.0 <= rescaled(score, (low, high))[0] <= 1.0


LABELLED = [("a cat", "a dog", 0), ("red", "blue", 1), ("one", "two", 1)]


def pairs(out: Path) -> list[tuple]:
    return [(text_a, text_b, gold, split) for _, text_a, text_b, gold, split in table(out, "pairs")]


@pytest.mark.parametrize("name", ["bq", "lcqmc", "pawsx", "afqmc", "atec"])
def test_labels_of_two_classes_are_gold_as_they_are(tmp_path, name):
    out = run_registered(tmp_path, name, write_cmteb(tmp_path / name, LABELLED))
    assert pairs(out) == [(*row, "train") for row in LABELLED]
    assert counts(out)["task"] == "sts"


def test_stsb_is_rescaled_from_0_to_5(tmp_path):
    """4 / 5 = 0.8; 5.5 lies outside."""
    rows = [("a", "b", 0.0), ("c", "d", 4.0), ("e", "f", 5.5)]
    out = run_registered(tmp_path, "stsb", write_cmteb(tmp_path / "stsb", rows), tolerance=0.5)
    assert [row[2] for row in pairs(out)] == [0.0, 0.8]
    assert [entry["reason"] for entry in rejects(out)] == ["expected a score within [0, 5] (score_range), found 5.5"]


def test_shards_are_read_in_the_order_of_their_names_and_no_two_pairs_share_an_id(tmp_path):
    rows = [(f"left {n}", f"right {n}", n % 2) for n in range(7)]
    out = run_registered(tmp_path, "lcqmc", write_cmteb(tmp_path / "lcqmc", rows, shards=3))
    assert [row[0] for row in pairs(out)] == [f"left {n}" for n in (0, 3, 6, 1, 4, 2, 5)]
    assert len({row[0] for row in table(out, "pairs")}) == 7


def test_without_shares_the_validation_pairs_are_dev_and_with_shares_they_are_not_read(tmp_path):
    folder = write_cmteb(tmp_path / "lcqmc", LABELLED)
    write_cmteb(folder, [("held", "out", 1), ("BLUE", " red", 1)], split="validation")
    out = run_registered(tmp_path, "lcqmc", folder)
    assert counts(out)["splits"] == {"train": 2, "dev": 2, "test": 0}
    assert counts(out)["filtered"] == {"pairs in a later split too": 1}
    out = run_registered(tmp_path, "lcqmc", folder, splits=ALL_TRAIN)
    assert counts(out)["splits"] == {"train": 3, "dev": 0, "test": 0}


def test_validation_pairs_that_are_a_benchmark_are_never_read(tmp_path):
    folder = write_cmteb(tmp_path / "afqmc", LABELLED)
    write_cmteb(folder, [("held", "out", 1)], split="validation")
    assert counts(run_registered(tmp_path, "afqmc", folder))["splits"] == {"train": 3, "dev": 0, "test": 0}


def test_a_dev_set_is_cut_from_training_pairs_and_no_spelling_of_one_is_in_both(tmp_path):
    rows = [(f"left {n % 60}", f"right {n % 60}" + " " * (n % 3), 1) for n in range(120)]
    swapped = [(text_b.upper(), text_a, gold) for text_a, text_b, gold in rows[:60]]
    out = run_registered(tmp_path, "afqmc", write_cmteb(tmp_path / "afqmc", rows + swapped), splits=HALF)
    keys = {split: {pair_key(row[0], row[1]) for row in pairs(out) if row[3] == split} for split in ("train", "dev")}
    assert len(keys["train"] | keys["dev"]) == len(pairs(out)) == 60
    assert not keys["train"] & keys["dev"]
    assert min(map(len, keys.values())) > 15
    assert counts(out)["filtered"] == {"pairs that repeat": 120}


CLUE_ROWS = [
    {"sentence1": "it rains", "sentence2": "it is wet", "label": "entailment", "idx": 0},
    {"sentence1": "it rains", "sentence2": "he sings", "label": "neutral", "idx": 1},
    {"sentence1": "it rains", "sentence2": "it is dry", "label": "contradiction", "idx": 2},
    {"sentence1": "it rains", "sentence2": "who knows", "label": "-", "idx": 3},
]


@pytest.mark.parametrize("name", ["cmnli", "ocnli"])
def test_of_three_classes_only_entailment_is_similar_and_rows_without_a_label_are_counted(tmp_path, name):
    write_lines(tmp_path / "clue/train.json", CLUE_ROWS)
    out = run_registered(tmp_path, name, tmp_path / "clue")
    assert [row[1:3] for row in pairs(out)] == [("it is wet", 1.0), ("he sings", 0.0), ("it is dry", 0.0)]
    assert counts(out)["filtered"] == {"pairs without a label": 1}
    assert counts(out)["rejected"] == 0


def test_classes_by_number_are_in_the_declared_order(tmp_path):
    """0 neutral, 1 entailment, 2 contradiction, -1 none, as the class labels of the hub's clue/clue are named."""
    rows = [{**row, "label": label} for row, label in zip(CLUE_ROWS, (1, 0, 2, -1), strict=True)]
    (tmp_path / "clue/cmnli").mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(tmp_path / "clue/cmnli/train-00000-of-00001.parquet")
    out = run_registered(tmp_path, "cmnli", tmp_path / "clue")
    assert [row[2] for row in pairs(out)] == [1.0, 0.0, 0.0]
    assert counts(out)["filtered"] == {"pairs without a label": 1}


@pytest.mark.parametrize("label", ["similar", 3, 1.5, True])
def test_a_label_outside_the_mapping_is_a_bad_row(tmp_path, label):
    path = write_lines(tmp_path / "train.jsonl", [CLUE_ROWS[0], CLUE_ROWS[1] | {"label": label}])
    out = run_registered(tmp_path, "ocnli", path, tolerance=0.5)
    (found,) = rejects(out)
    assert (found["row"], found["field"]) == (2, "label")
    assert found["reason"].startswith("expected a label of neutral, entailment, contradiction, 0, 1, 2, found ")


def test_qbqtc_has_its_labels_as_text_from_0_to_2(tmp_path):
    rows = [{"id": n, "query": f"query {n}", "title": f"title {n}", "label": str(n)} for n in range(4)]
    write_lines(tmp_path / "clone/dataset/train.json", rows)
    write_lines(tmp_path / "clone/dataset/dev.json", [{"id": 9, "query": "q", "title": "t", "label": "1"}])
    out = run_registered(tmp_path, "qbqtc", tmp_path / "clone", tolerance=0.5)
    assert [row[2:] for row in pairs(out)] == [(0.0, "train"), (0.5, "train"), (1.0, "train"), (0.5, "dev")]
    assert [entry["reason"] for entry in rejects(out)] == ["expected a score within [0, 2] (score_range), found 3"]


def test_a_missing_column_names_the_file_and_a_folder_without_training_pairs_what_is_expected(tmp_path):
    pd.DataFrame([("a", "b")], columns=["sentence1", "sentence2"]).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(InputError, match=r"train\.parquet: column 'score': missing"):
        run_registered(tmp_path, "lcqmc", tmp_path)
    (tmp_path / "train.parquet").rename(tmp_path / "other.parquet")
    expected = (
        r"expected a training file \(data/train-\*\.parquet, .*\) with sentence1, sentence2, score, found none at"
    )
    with pytest.raises(InputError, match=expected):
        run_registered(tmp_path, "lcqmc", tmp_path)


def test_every_source_of_pairs_is_read_from_a_single_file(tmp_path):
    for name, declared in TRAINING_SOURCES.items():
        if declared.task == "sts":
            columns = declared.layout.columns
            row = {columns.text_a: "a", columns.text_b: "b", columns.score: 1}
            out = run_registered(tmp_path / name, name, write_lines(tmp_path / f"{name}.jsonl", [row]))
            assert counts(out)["splits"]["train"] == 1, name
