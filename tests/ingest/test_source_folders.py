"""Folders as people have them: split files, shards and links are read whole, named as unread, or an error."""

import gzip
import logging
import re
from pathlib import Path

import pandas as pd
import pytest
from source_files import (
    PACK,
    SCORED,
    beir_source,
    counts,
    flag_source,
    ingest,
    message,
    pairs_source,
    rows_as,
    run_registered,
    table,
    write_beir,
    write_cmteb,
    write_lines,
    zipped,
)

from codiemb_pipeline.errors import InputError

SPLIT_FILES = {
    "train": ["train.csv", "Train.jsonl", "TRAIN.tsv.gz", "training.json", "train-00000-of-00001.parquet"],
    "dev": [
        "validation.csv",
        "val.tsv",
        "valid.jsonl.zst",
        "eval.csv",
        "dev.csv.bz2",
        "DEV-00000-of-00001-ab12cd34ef.parquet",
    ],
    "test": ["test.csv.gz", "Test.parquet", "test.zip", "testing.tsv"],
}


@pytest.mark.parametrize(("split", "name"), [(split, name) for split, names in SPLIT_FILES.items() for name in names])
def test_the_usual_names_of_split_files_are_read_in_a_folder_of_pairs(tmp_path, split, name):
    parts = name.split(".")
    suffix = ".csv" if name.endswith(".zip") else f".{parts[1]}"
    packed = f".{parts[-1]}" if len(parts) > 2 else ""
    content = zipped({"p.csv": rows_as(".csv")}) if name.endswith(".zip") else PACK[packed](rows_as(suffix))
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / name).write_bytes(content)
    out = ingest(tmp_path / "out", pairs_source(tmp_path / "p", splits=None))
    assert counts(out)["splits"] == {"train": 0, "dev": 0, "test": 0} | {split: 3}
    first = 2 if suffix in (".csv", ".tsv") else 1
    assert [row[0] for row in table(out, "pairs")] == [f"{split}-{row}" for row in range(first, first + 3)]


def test_the_usual_names_are_read_in_a_beir_folder_whatever_the_format(tmp_path):
    folder = tmp_path / "b"
    write_beir(folder, queries=[{"_id": f"q{n}", "text": f"query {n}"} for n in range(3)], qrels={})
    (folder / "Corpus.jsonl.gz").write_bytes(gzip.compress((folder / "corpus.jsonl").read_bytes()))
    (folder / "corpus.jsonl").unlink()
    pd.read_json(folder / "queries.jsonl", lines=True).to_csv(folder / "queries.csv", index=False)
    (folder / "queries.jsonl").unlink()
    (folder / "qrels").mkdir()
    write_lines(folder / "qrels/train.tsv", ["query-id\tcorpus-id\tscore", "q0\td1\t1"])
    write_lines(folder / "qrels/Validation.csv", ["query-id,corpus-id,score", "q1,d1,1"])
    (folder / "qrels/test.tsv.zst").write_bytes(PACK[".zst"](b"query-id\tcorpus-id\tscore\nq2\td2\t1\n"))
    out = ingest(tmp_path / "out", beir_source(folder))
    assert [row[::2] for row in table(out, "queries")] == [("q0", "train"), ("q1", "dev"), ("q2", "test")]
    assert "unread" not in counts(out)


def test_two_files_of_one_meaning_are_an_error(tmp_path):
    for first, second in (("val.csv", "dev.csv"), ("train.csv", "train.csv.gz"), ("t/TRAIN.csv", "t/train.csv")):
        folder = tmp_path / first.replace("/", "")
        for name in (first, second):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            pack = PACK.get(Path(name).suffix, bytes)
            (folder / name).write_bytes(pack(rows_as(".csv")))
        source = pairs_source(folder / Path(first).parent, splits=None)
        assert f"{Path(first).name}" in message(tmp_path, source)


def test_a_folder_of_rows_has_a_file_for_each_split(tmp_path):
    for split in ("train", "val"):
        write_lines(tmp_path / f"f/{split}.jsonl", [{"query": f"{split} {n}", "pos": [f"d{n}"]} for n in range(2)])
    out = ingest(tmp_path / "out", flag_source(tmp_path / "f", splits=None))
    assert counts(out)["splits"] == {"train": 2, "dev": 2, "test": 0}
    assert "found a folder" in message(tmp_path, flag_source(tmp_path / "f"))


def test_what_nobody_read_is_listed_once_and_what_holds_no_rows_is_not(tmp_path, caplog):
    folder = tmp_path / "p"
    for name in (
        "train.csv",
        "train_old.csv",
        "more/extra.jsonl",
        "README.md",
        "LICENSE.txt",
        ".gitattributes",
        ".git/x",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(rows_as(".csv"))
    with caplog.at_level(logging.WARNING):
        out = ingest(tmp_path / "out", pairs_source(folder, splits=None))
    assert counts(out)["unread"] == ["more/extra.jsonl", "train_old.csv"]
    assert sum("train_old.csv" in record.getMessage() for record in caplog.records) == 1
    write_beir(tmp_path / "b")
    (tmp_path / "b/qrels/holdout.tsv").write_text("x")
    assert counts(ingest(tmp_path / "out", beir_source(tmp_path / "b")))["unread"] == ["qrels/holdout.tsv"]
    write_lines(tmp_path / "s/train.csv", ["left,right,gold", "a,b,1"])
    assert "unread" not in counts(ingest(tmp_path / "out", pairs_source(tmp_path / "s/train.csv")))


def shards(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        suffix = next(suffix for suffix in (".parquet", ".jsonl", ".csv") if suffix in name)
        (folder / name).write_bytes(rows_as(suffix, [(f"{number} {a}", b, gold) for a, b, gold in SCORED]))


NAMINGS = [
    "train-{:05}-of-{:05}.parquet",
    "train-{:05}-of-{:05}-0a1b2c3d4e.parquet",
    "train.jsonl-{:05}-of-{:05}",
    "Train-{:02}-of-{:02}.csv",
]


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("first", [0, 1])
def test_shards_are_read_whole_or_the_missing_one_is_named(tmp_path, naming, first):
    names = [naming.format(number, 4) for number in range(first, first + 4)]
    shards(tmp_path / "p", names)
    source = pairs_source(tmp_path / "p", splits=None)
    out = ingest(tmp_path / "out", source)
    assert counts(out)["splits"]["train"] == 12
    assert len({row[0] for row in table(out, "pairs")}) == 12
    gone, number = tmp_path / "p" / names[2], re.search(r"-\d+-of-\d+", names[2])[0]
    gone.unlink()
    assert number in message(tmp_path, source)
    gone.symlink_to(tmp_path / "nowhere")
    assert number in message(tmp_path, source)
    gone.unlink()
    gone.with_name(f"{names[2]}.incomplete").write_bytes(b"PAR1")
    assert number in message(tmp_path, source)


@pytest.mark.parametrize("gone", [0, 2])
def test_the_first_and_the_last_shard_are_missed_too(tmp_path, gone):
    names = [f"train-{number:05}-of-00003.parquet" for number in range(3)]
    shards(tmp_path / "p", names)
    (tmp_path / "p" / names[gone]).unlink()
    assert "missing" in message(tmp_path, pairs_source(tmp_path / "p", splits=None))


def test_a_registered_source_lacks_no_shard_and_a_ready_made_copy_neither(tmp_path):
    rows = [(f"left {n}", f"right {n}", n % 2) for n in range(8)]
    folder = write_cmteb(tmp_path / "lcqmc", rows, shards=4)
    (folder / "data/train-00001-of-00004.parquet").unlink()
    with pytest.raises(InputError, match=r"train-00001-of-00004\.parquet; fetch"):
        run_registered(tmp_path, "lcqmc", folder)
    copy = tmp_path / "copy"
    copy.mkdir()
    frame = pd.DataFrame({"query": ["a"], "positive": [["b"]], "negative": [["c"]]})
    frame.to_parquet(copy / "train-00000-of-00002.parquet")
    with pytest.raises(InputError, match=r"train-00001-of-00002\.parquet; fetch"):
        run_registered(tmp_path, "t2ranking", copy)


def test_one_shard_as_a_source_names_the_others_as_unread(tmp_path):
    shards(tmp_path / "p", ["train-00000-of-00002.csv", "train-00001-of-00002.csv"])
    out = ingest(tmp_path / "out", pairs_source(tmp_path / "p/train-00000-of-00002.csv"))
    assert counts(out)["unread"] == ["train-00001-of-00002.csv"]


def test_a_link_to_nothing_and_an_unfinished_download_are_named(tmp_path):
    folder = tmp_path / "p"
    shards(folder, ["train.csv"])
    source = pairs_source(folder, splits=None)
    (folder / "dev.csv").symlink_to(folder / "gone.csv")
    assert "dev.csv: expected a file, found a link" in message(tmp_path, source)
    (folder / "dev.csv").unlink()
    (folder / "dev.csv.part").write_text("left")
    assert "dev.csv.part: expected a whole file, found an unfinished download" in message(tmp_path, source)
    (folder / "dev.csv").write_bytes(rows_as(".csv", [("x", "y", 1)]))
    out = ingest(tmp_path / "out", source)
    assert (counts(out)["splits"]["dev"], counts(out)["unread"]) == (1, ["dev.csv.part"])
