"""Scored pairs by hand: jsonl, csv, tsv, parquet, gensim's word lists, Lee; gold moved to [0, 1]."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_files import ALL_TRAIN, counts, ingest, pairs_source, rejects, table, write_lines

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.pairs import rescale
from codiemb_pipeline.ingest.rows import BadRowError

ROWS = [("a cat", "a dog", 4.0), ("one, two", 'a "quoted" text', 0.0), ("red", "blue", 5.0)]
GOLD = [0.8, 0.0, 1.0]


def write_pairs(path: Path) -> Path:
    frame = pd.DataFrame(ROWS, columns=["left", "right", "gold"])
    if path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        write_lines(path, ["left\tright\tgold", *("\t".join(map(str, row)) for row in ROWS)])
    return path


@pytest.mark.parametrize(("suffix", "first_row"), [(".jsonl", 1), (".csv", 2), (".tsv", 2), (".parquet", 1)])
def test_pairs_read_the_same_from_every_format(tmp_path: Path, suffix: str, first_row: int) -> None:
    out = ingest(tmp_path / "out", pairs_source(write_pairs(tmp_path / f"pairs{suffix}")))
    expected = [
        (str(first_row + number), left, right, gold, "train")
        for number, ((left, right, _), gold) in enumerate(zip(ROWS, GOLD, strict=True))
    ]
    assert table(out, "pairs") == expected
    assert counts(out) == {
        "task": "sts",
        "rows": 3,
        "rejected": 0,
        "left_out": {},
        "splits": {"train": 3, "dev": 0, "test": 0},
    }


def test_columns_that_nobody_asked_for_do_not_matter(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.csv", ["note,gold,right,left", "x,5,b,a"])
    assert table(ingest(tmp_path / "out", pairs_source(path)), "pairs") == [("2", "a", "b", 1.0, "train")]


def test_a_byte_order_mark_belongs_to_no_column(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes(b"\xef\xbb\xbfleft,right,gold\r\na,b,5\r\n")
    assert table(ingest(tmp_path / "out", pairs_source(path)), "pairs") == [("2", "a", "b", 1.0, "train")]


def test_a_quoted_field_over_several_lines_is_one_row_named_by_its_first_line(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.csv", ["left,right,gold", '"a', 'b",c,5', "d,e,9"])
    out = ingest(tmp_path / "out", pairs_source(path), tolerance=0.5)
    assert table(out, "pairs") == [("2", "a\nb", "c", 1.0, "train")]
    assert [(reject["row"], reject["field"]) for reject in rejects(out)] == [(4, "gold")]


def test_a_quote_in_a_tsv_is_a_character(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.tsv", ["left\tright\tgold", '"a\tb\t5', 'c"\td\t0'])
    rows = table(ingest(tmp_path / "out", pairs_source(path)), "pairs")
    assert [row[1] for row in rows] == ['"a', 'c"']


def test_rows_with_too_few_fields_are_named(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.tsv", ["left\tright\tgold", "a\tb"])
    with pytest.raises(InputError, match=r"row 2: \(row\): expected 3 fields, found 2"):
        ingest(tmp_path / "out", pairs_source(path))


def test_a_quote_that_is_never_closed_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.csv", ["left,right,gold", "a,b,5", '"c,d,5', "e,f,5"])
    with pytest.raises(InputError, match=r"pairs\.csv: row 3: .*is a quote opened here and never closed\?"):
        ingest(tmp_path / "out", pairs_source(path))


def test_a_file_that_only_claims_to_be_parquet_is_an_error(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.parquet", ["left,right,gold"])
    with pytest.raises(InputError, match=r"pairs\.parquet: after row 0: not readable as parquet"):
        ingest(tmp_path / "out", pairs_source(path))


def test_an_unknown_suffix_is_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.xlsx", ["a"])
    with pytest.raises(InputError, match=r"suffix: expected one of \.jsonl, .*\.parquet; found '\.xlsx'"):
        ingest(tmp_path / "out", pairs_source(path))


@pytest.mark.parametrize(
    ("score", "score_range", "gold"),
    [(7.2, (0, 10), 0.72), (0, (-1, 1), 0.5), (1, (1, 5), 0.0), (5, (1, 5), 1.0), (2, (1, 5), 0.25)],
)
def test_gold_is_the_place_of_the_score_in_its_range(score: float, score_range: tuple, gold: float) -> None:
    assert rescale(score, score_range, "gold") == pytest.approx(gold, abs=1e-15)


@pytest.mark.parametrize("score", [0.999, 5.001, -1.0, math.nan, math.inf])
def test_a_score_outside_its_range_is_never_clipped(score: float) -> None:
    with pytest.raises(BadRowError):
        rescale(score, (1.0, 5.0), "gold")


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_gold_stays_within_0_and_1(a: float, b: float, c: float) -> None:
    low, score, high = sorted((a, b, c))
    if low < high:
        assert 0.0 <= rescale(score, (low, high), "gold") <= 1.0


def word_pairs_source(path: Path) -> dict[str, Any]:
    return {"task": "sts", "reader": "word_pairs", "path": str(path), "splits": ALL_TRAIN, "score_range": [0, 10]}


def test_word_pairs_skip_comments_and_blank_lines_but_count_lines(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "words.txt", ["# word 1\tword 2\tscore", "old\tnew\t1.5", "", "king\tqueen\t8"])
    out = ingest(tmp_path / "out", word_pairs_source(path))
    assert table(out, "pairs") == [("2", "old", "new", 0.15, "train"), ("4", "king", "queen", 0.8, "train")]
    assert counts(out)["rows"] == 2


def test_a_line_that_is_no_word_pair_is_named(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "words.txt", ["old\tnew\t1.5", "king queen 8"])
    with pytest.raises(InputError, match=r"row 2: \(line\): expected word, word, score; found 'king queen 8'"):
        ingest(tmp_path / "out", word_pairs_source(path))


def write_lee(folder: Path, matrix: list[str]) -> dict[str, Any]:
    folder.mkdir()
    (folder / "lee.cor").write_bytes(b"first text\nsecond \xa3 text\nthird text\n")
    write_lines(folder / "similarities0-1.txt", matrix)
    return word_pairs_source(folder) | {"reader": "lee", "score_range": [0, 1]}


def test_lee_pairs_every_two_documents_once(tmp_path: Path) -> None:
    source = write_lee(tmp_path / "lee", ["1\t0.1\t0.2", "0\t1\t0.3", "0\t0\t1"])
    assert table(ingest(tmp_path / "out", source), "pairs") == [
        ("1-2", "first text", "second £ text", 0.1, "train"),
        ("1-3", "first text", "third text", 0.2, "train"),
        ("2-3", "second £ text", "third text", 0.3, "train"),
    ]


def test_a_lee_score_out_of_range_is_named_with_row_and_column(tmp_path: Path) -> None:
    source = write_lee(tmp_path / "lee", ["1\t0.1\t0.2", "0\t1\t3", "0\t0\t1"])
    with pytest.raises(InputError, match=r"similarities0-1\.txt: row 2: column 3: expected a score within \[0, 1\]"):
        ingest(tmp_path / "out", source)


def test_a_lee_matrix_that_lacks_a_row_is_an_error(tmp_path: Path) -> None:
    source = write_lee(tmp_path / "lee", ["1\t0.1\t0.2", "0\t1\t0.3"])
    with pytest.raises(InputError, match=r"similarities0-1\.txt: expected 3 rows and columns, one per document"):
        ingest(tmp_path / "out", source)
