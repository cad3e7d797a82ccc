"""Registered sources of pairs: C-MTEB's, CLUE's three classes, QBQTC's jsonl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from registered_files import HALF, registered_source, write_cmteb, write_lines
from source_files import ALL_TRAIN, counts, ingest, rejects, table

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES
from codiemb_pipeline.texts import pair_key

ROWS = [("a cat", "a dog", 0), ("red", "blue", 1), ("one", "two", 1)]


def run(tmp_path: Path, name: str, path: Path, *, tolerance: float = 0.0, **changes: Any) -> Path:
    return ingest(tmp_path / "out", registered_source(name, path, **changes), tolerance=tolerance)


def pairs(out: Path) -> list[tuple]:
    return [(text_a, text_b, gold, split) for _, text_a, text_b, gold, split in table(out, "pairs")]


@pytest.mark.parametrize("name", ["bq", "lcqmc", "pawsx", "afqmc", "atec"])
def test_labels_of_two_classes_are_gold_as_they_are(tmp_path: Path, name: str) -> None:
    out = run(tmp_path, name, write_cmteb(tmp_path / name, ROWS))
    assert pairs(out) == [(*row, "train") for row in ROWS]
    assert counts(out)["task"] == "sts"


def test_stsb_is_rescaled_from_0_to_5(tmp_path: Path) -> None:
    """4 / 5 = 0.8; 5.5 lies outside."""
    rows = [("a", "b", 0.0), ("c", "d", 4.0), ("e", "f", 5.5)]
    out = run(tmp_path, "stsb", write_cmteb(tmp_path / "stsb", rows), tolerance=0.5)
    assert [row[2] for row in pairs(out)] == [0.0, 0.8]
    assert [entry["reason"] for entry in rejects(out)] == ["expected a score within [0, 5] (score_range), found 5.5"]


def test_shards_are_read_in_the_order_of_their_names_and_no_two_pairs_share_an_id(tmp_path: Path) -> None:
    rows = [(f"left {n}", f"right {n}", n % 2) for n in range(7)]
    out = run(tmp_path, "lcqmc", write_cmteb(tmp_path / "lcqmc", rows, shards=3))
    assert [row[0] for row in pairs(out)] == [f"left {n}" for n in (0, 3, 6, 1, 4, 2, 5)]
    assert len({row[0] for row in table(out, "pairs")}) == 7


def test_without_shares_the_validation_pairs_are_dev_and_with_shares_they_are_not_read(tmp_path: Path) -> None:
    folder = write_cmteb(tmp_path / "lcqmc", ROWS)
    write_cmteb(folder, [("held", "out", 1), ("BLUE", "red!", 1)], split="validation")
    out = run(tmp_path, "lcqmc", folder)
    assert counts(out)["splits"] == {"train": 2, "dev": 2, "test": 0}
    assert counts(out)["filtered"] == {"pairs in a later split too": 1}
    out = run(tmp_path, "lcqmc", folder, splits=ALL_TRAIN)
    assert counts(out)["splits"] == {"train": 3, "dev": 0, "test": 0}


def test_validation_pairs_that_are_a_benchmark_are_never_read(tmp_path: Path) -> None:
    folder = write_cmteb(tmp_path / "afqmc", ROWS)
    write_cmteb(folder, [("held", "out", 1)], split="validation")
    assert counts(run(tmp_path, "afqmc", folder))["splits"] == {"train": 3, "dev": 0, "test": 0}


def test_a_dev_set_is_cut_from_training_pairs_and_no_spelling_of_one_is_in_both(tmp_path: Path) -> None:
    rows = [(f"left {n % 60}", f"right {n % 60}" + "!" * (n % 3), 1) for n in range(120)]
    swapped = [(text_b.upper(), text_a, gold) for text_a, text_b, gold in rows[:60]]
    out = run(tmp_path, "afqmc", write_cmteb(tmp_path / "afqmc", rows + swapped), splits=HALF)
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
def test_of_three_classes_only_entailment_is_similar_and_rows_without_a_label_are_counted(
    tmp_path: Path, name: str
) -> None:
    write_lines(tmp_path / "clue/train.json", CLUE_ROWS)
    out = run(tmp_path, name, tmp_path / "clue")
    assert [row[1:3] for row in pairs(out)] == [("it is wet", 1.0), ("he sings", 0.0), ("it is dry", 0.0)]
    assert counts(out)["filtered"] == {"pairs without a label": 1}
    assert counts(out)["rejected"] == 0


def test_classes_by_number_are_in_the_declared_order(tmp_path: Path) -> None:
    """0 neutral, 1 entailment, 2 contradiction, -1 none, as the class labels of the hub's clue/clue are named."""
    rows = [{**row, "label": label} for row, label in zip(CLUE_ROWS, (1, 0, 2, -1), strict=True)]
    (tmp_path / "clue/cmnli").mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(tmp_path / "clue/cmnli/train-00000-of-00001.parquet")
    out = run(tmp_path, "cmnli", tmp_path / "clue")
    assert [row[2] for row in pairs(out)] == [1.0, 0.0, 0.0]
    assert counts(out)["filtered"] == {"pairs without a label": 1}


@pytest.mark.parametrize("label", ["similar", 3, 1.5, True])
def test_a_label_outside_the_mapping_is_a_bad_row(tmp_path: Path, label: Any) -> None:
    path = write_lines(tmp_path / "train.jsonl", [CLUE_ROWS[0], CLUE_ROWS[1] | {"label": label}])
    out = run(tmp_path, "ocnli", path, tolerance=0.5)
    (found,) = rejects(out)
    assert (found["row"], found["field"]) == (2, "label")
    assert found["reason"].startswith("expected a label of neutral, entailment, contradiction, 0, 1, 2, found ")


def test_qbqtc_has_its_labels_as_text_from_0_to_2(tmp_path: Path) -> None:
    rows = [{"id": n, "query": f"query {n}", "title": f"title {n}", "label": str(n)} for n in range(4)]
    write_lines(tmp_path / "clone/dataset/train.json", rows)
    write_lines(tmp_path / "clone/dataset/dev.json", [{"id": 9, "query": "q", "title": "t", "label": "1"}])
    out = run(tmp_path, "qbqtc", tmp_path / "clone", tolerance=0.5)
    assert [row[2:] for row in pairs(out)] == [(0.0, "train"), (0.5, "train"), (1.0, "train"), (0.5, "dev")]
    assert [entry["reason"] for entry in rejects(out)] == ["expected a score within [0, 2] (score_range), found 3"]


def test_a_missing_column_names_the_file_and_a_folder_without_training_pairs_what_is_expected(tmp_path: Path) -> None:
    pd.DataFrame([("a", "b")], columns=["sentence1", "sentence2"]).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(InputError, match=r"train\.parquet: column 'score': missing"):
        run(tmp_path, "lcqmc", tmp_path)
    (tmp_path / "train.parquet").rename(tmp_path / "other.parquet")
    expected = (
        r"expected a training file \(data/train-\*\.parquet, .*\) with sentence1, sentence2, score, found none at"
    )
    with pytest.raises(InputError, match=expected):
        run(tmp_path, "lcqmc", tmp_path)


def test_every_source_of_pairs_is_read_from_a_single_file(tmp_path: Path) -> None:
    for name, declared in TRAINING_SOURCES.items():
        if declared.task == "sts":
            columns = declared.layout.columns
            row = {columns.text_a: "a", columns.text_b: "b", columns.score: 1}
            out = run(tmp_path / name, name, write_lines(tmp_path / f"{name}.jsonl", [row]))
            assert counts(out)["splits"]["train"] == 1, name
