"""What people's files and folders are like: each is read as it is meant, or one error says what is wrong with it."""

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_files import (
    COLUMNS,
    PACK,
    SCORED,
    beir_source,
    counts,
    flag_source,
    ingest,
    message,
    pairs,
    pairs_source,
    rejects,
    rows_as,
    table,
    write_beir,
    write_lines,
    zipped,
)

from codiemb_pipeline.errors import InputError

HEADER = "left\tright\tgold\n"


def read(tmp_path: Path, name: str, content: bytes | str, **changes: Any) -> Path:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return ingest(tmp_path / "out", pairs_source(path), **changes)


# Texts


@pytest.mark.parametrize(
    "nothing", ["\u200b\u200d", "\ufeff", "\0", "\u00ad", " \u3164\t", "\u2800", "\ufe0f", "\u202e\u2060"]
)
def test_a_text_in_which_nothing_shows_is_a_bad_row_wherever_it_stands(tmp_path, nothing):
    rows = [{"query": nothing, "pos": ["b"]}, {"query": "c", "pos": [nothing]}, {"query": "c", "pos": ["d", "e\u200d"]}]
    out = ingest(tmp_path / "out", flag_source(write_lines(tmp_path / "z.jsonl", rows)), tolerance=0.7)
    assert [entry["row"] for entry in rejects(out)] == [1, 2]
    assert [row[2] for row in table(out, "corpus")] == ["d", "e\u200d"]
    corpus = [{"_id": "d1", "title": nothing, "text": nothing}, {"_id": "d2", "title": nothing, "text": "a"}]
    folder = write_beir(tmp_path / "b", corpus, [{"_id": "q1", "text": "q"}], {"train": [("q1", "d2", 1)]})
    out = ingest(tmp_path / "beir", beir_source(folder), tolerance=0.5)
    assert table(out, "corpus") == [("d2", "", "a")]


def test_texts_that_differ_in_signs_or_marks_are_different_queries_and_pairs(tmp_path):
    texts = [
        "What is C?",
        "What is C++?",
        "What is C#?",
        "दिन",
        "दान",
        "दीन",
        "ไม่",
        "ไม้",
        "ไม",
        "-5",
        "5",
        "great 😀",
        "great 😡",
    ]
    rows = [{"query": text, "pos": [f"of {number}"]} for number, text in enumerate(texts)]
    out = ingest(tmp_path / "ir", flag_source(write_lines(tmp_path / "q.jsonl", rows)))
    assert [row[1] for row in table(out, "queries")] == texts
    assert len(table(out, "qrels")) == len(texts)
    out = read(tmp_path, "p.jsonl", rows_as(".jsonl", [(text, "z", 1) for text in texts]))
    assert [row[0] for row in pairs(out)] == texts


@pytest.mark.parametrize("score", ["1_0", "٣", "３", "0x1", "1,5", "", "true", "nan", "1e999"])
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_what_only_python_takes_for_a_number_is_no_score(tmp_path, score, suffix):
    out = read(tmp_path, f"p{suffix}", rows_as(suffix, [("a", "b", score), ("c", "d", " 2.5e0 ")]), tolerance=0.5)
    assert pairs(out) == [("c", "d", 0.5)]
    assert [entry["field"] for entry in rejects(out)] == ["gold"]


def test_truth_values_are_no_scores(tmp_path):
    pd.DataFrame({"left": ["a"], "right": ["b"], "gold": [True]}).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(InputError, match="gold: expected a finite number, found True"):
        ingest(tmp_path / "out", pairs_source(tmp_path / "p.parquet"))


# Contradictions


def test_ratings_of_one_pair_are_averaged_and_counted_apart_from_repeats(tmp_path):
    """5, 1 and 0 of one pair: (1 + 0.2 + 0) / 3 = 0.4; the other pair has 2 and 2."""
    rows = [("a dog", "a cat", 5), ("a dog", "A  cat", 1), ("a cat", "a dog", 0), ("c", "d", 2), ("d", "c", 2)]
    out = read(tmp_path, "p.csv", rows_as(".csv", rows))
    assert pairs(out) == [("a dog", "a cat", pytest.approx(0.4)), ("c", "d", 0.4)]
    assert counts(out)["filtered"] == {"pairs repeated with another score, averaged": 2, "pairs that repeat": 1}


def test_ratings_of_another_split_enter_no_average(tmp_path):
    for split, score in (("train", 5), ("test", 1)):
        (tmp_path / "p").mkdir(exist_ok=True)
        (tmp_path / f"p/{split}.csv").write_bytes(rows_as(".csv", [("a", "b", score), (split, "d", 1)]))
    out = ingest(tmp_path / "out", pairs_source(tmp_path / "p", splits=None))
    assert ("a", "b", 0.2) in pairs(out)
    assert counts(out)["filtered"] == {"pairs in a later split too": 1}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_judgement_of_0_and_1_is_counted_as_such_and_relevant(tmp_path, order):
    qrels = {"train": [("q1", "d1", order[0]), ("q1", "d1", order[1]), ("q1", "d2", 0), ("q2", "d2", 1)]}
    out = ingest(tmp_path / "out", beir_source(write_beir(tmp_path / "b", qrels=qrels)))
    assert table(out, "qrels") == [("q1", "d1", 1), ("q2", "d2", 1)]
    assert counts(out)["filtered"] == {
        "judgements of no relevance": 1,
        "judgements repeated with another relevance, the highest kept": 1,
    }


@pytest.mark.parametrize("twice", [{"text_a": "right"}, {"score": "left"}])
def test_a_column_for_two_purposes_is_an_error(tmp_path, twice):
    source = pairs_source(write_lines(tmp_path / "p.jsonl", ["{}"]), columns=COLUMNS | twice)
    assert "three columns" in message(tmp_path, source)


TWICE = [
    '{"left": "a", "left": "b", "right": "c", "gold": 1}',
    '{"left": "a", "right": "c", "gold": 1, "x": {"y": 1, "y": 2}}',
]


@pytest.mark.parametrize("row", TWICE)
@pytest.mark.parametrize("in_list", [False, True])
def test_a_key_twice_in_an_object_is_a_bad_row(tmp_path, row, in_list):
    sound = '{"left": "d", "right": "e", "gold": 1}'
    lines = f"[{row},{sound}]" if in_list else f"{row}\n{sound}\n"
    out = read(tmp_path, "p.json", lines, tolerance=0.5)
    assert [(entry["row"], entry["reason"]) for entry in rejects(out)] == [
        (1, "expected each key once in an object, found it twice")
    ]
    assert pairs(out) == [("d", "e", 0.2)]


# TSV and CSV


@pytest.mark.parametrize("quoting", [0, 1])
@pytest.mark.parametrize("columns", [["left", "right", "gold"], ["gold", "left", "right"], ["right", "gold", "left"]])
def test_a_tsv_with_quotes_is_read_as_pandas_reads_it(tmp_path, quoting, columns):
    texts = ['He said "hi" to me', "first line\nsecond line", "a\ttab", '"', '""', 'quote"', "a\n\nb\tc\n", '"a"\n"']
    texts += ["plain", "last\n1"]
    frame = pd.DataFrame({"left": texts, "right": [f"b{n}" for n in range(len(texts))], "gold": 1.0})[columns]
    out = read(tmp_path, "p.tsv", frame.to_csv(None, sep="\t", index=False, quoting=quoting))
    assert [row[0] for row in pairs(out)] == [text.strip() for text in texts]
    assert rejects(out) == []


@pytest.mark.parametrize("text", ['"a', 'a"', '"a" b', 'a "b" c', '"a" "b"', '5" nail', '"a"b"'])
def test_quotes_that_are_part_of_a_text_stay_in_a_tsv(tmp_path, text):
    out = read(tmp_path, "p.tsv", f"{HEADER}{text}\tb\t1\nc\td\t2\n{text}\te\t1\n")
    assert [row[0] for row in pairs(out)] == [text, "c", text]


PLAIN = ["left\tright\tgold", *(f"left {n}\tright {n}\t{n % 5}" for n in range(8))]


@pytest.mark.parametrize("separator", ["\t", ","])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (0, 2, 1)])
@pytest.mark.parametrize("cut", ["\n", "\r", "\n\n", "\nand\n"])
@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("row", [0, 4, 7])
def test_no_row_is_made_of_half_a_record(tmp_path, separator, order, cut, column, row):
    """One record is cut in a text: it alone is bad, or whole, where a score tells; else its neighbour is bad too."""
    records = [["left", "right", "gold"], *([f"left of {n}", f"right of {n}", str(n % 5)] for n in range(8))]
    records[row + 1][column] = f"the first{cut}the second"
    lines = [separator.join(record[place] for place in order) for record in records]
    suffix = "tsv" if separator == "\t" else "csv"
    out = read(tmp_path, f"p.{suffix}", "\n".join(lines) + "\n", tolerance=0.9)
    whole = [record[:2] for number, record in enumerate(records[1:]) if number != row]
    found = [list(found[:2]) for found in pairs(out)]
    kept = [pair for pair in found if "the" not in " ".join(pair)]
    assert all(pair in whole for pair in kept)
    assert len(kept) >= (6 if order == (0, 2, 1) else 7)
    broken = [pair for pair in found if pair not in kept]
    assert broken in ([], [records[row + 1][:2]])
    assert len(broken) + counts(out)["rejected"] >= 1


def test_records_that_are_cut_at_the_border_of_blocks_are_the_same(tmp_path, monkeypatch):
    texts = ["a b", 'say "hi"', "two\nlines", "a\ttab", 'end"', "x" * 30] * 6
    frame = pd.DataFrame({"left": texts, "right": [f"b{n}" for n in range(len(texts))], "gold": 1.0})
    broken = frame.to_csv(None, sep="\t", index=False) + "half\nother half\tb\t1\nc\td\t2\n"
    whole = read(tmp_path / "whole", "p.tsv", broken, tolerance=0.5)
    for size in (7, 16, 33, 100):
        monkeypatch.setattr("codiemb_pipeline.ingest.compressed.BLOCK_BYTES", size)
        parts = read(tmp_path / f"{size}", "p.tsv", broken, tolerance=0.5)
        assert table(parts, "pairs") == table(whole, "pairs")
        assert [entry["row"] for entry in rejects(parts)] == [entry["row"] for entry in rejects(whole)]
    assert len(rejects(whole)) == 1


def test_a_file_whose_lines_end_on_carriage_returns_or_several_is_read(tmp_path):
    for number, end in enumerate(["\r", "\r\n", "\r\r\n"]):
        for suffix, separator in (("tsv", "\t"), ("csv", ",")):
            lines = [record.replace("\t", separator) for record in PLAIN]
            out = read(tmp_path / f"{number}{suffix}", f"p.{suffix}", end.join([*lines, ""]))
            assert len(pairs(out)) == 8


def test_registered_and_beir_files_keep_their_quotes(tmp_path):
    queries = [{"_id": '"q"', "text": "a"}]
    folder = write_beir(tmp_path / "b", [{"_id": "d", "text": "b"}], queries, {"train": [('"q"', "d", 1)]})
    assert table(ingest(tmp_path / "out", beir_source(folder)), "qrels") == [('"q"', "d", 1)]


# Compressed files


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv"])
@pytest.mark.parametrize("packed", [*PACK, ".GZ", ".zip"])
def test_every_format_is_read_plain_and_compressed_alike(tmp_path, suffix, packed):
    content = rows_as(suffix)
    pack = PACK.get(packed.lower(), lambda data: zipped({f"in/p{suffix}": data}))
    assert pairs(read(tmp_path, f"p{suffix}{packed}", pack(content))) == [(a, b, gold / 5) for a, b, gold in SCORED]
    damaged = pack(content)[:-6]
    if packed:
        with pytest.raises(InputError, match=r"not readable, broken or incomplete"):
            read(tmp_path / "damaged", f"p{suffix}{packed}", damaged)


@pytest.mark.parametrize("packed", [".gz", ".bz2", ".zst"])
def test_a_compressed_file_of_several_members_is_read_whole_and_garbage_after_it_is_an_error(tmp_path, packed):
    parts = [PACK[packed](part) for part in (HEADER.encode() + b"a\tb\t1\n", b"c\td\t2\n")]
    assert [row[0] for row in pairs(read(tmp_path, f"p.tsv{packed}", b"".join(parts)))] == ["a", "c"]
    with pytest.raises(InputError, match=r"p\.tsv"):
        read(tmp_path / "garbage", f"p.tsv{packed}", b"".join(parts) + b"garbage")


def test_what_a_mac_and_a_packer_add_to_a_zip_is_passed_over(tmp_path):
    members = {
        "p.csv": rows_as(".csv"),
        "__MACOSX/._p.csv": b"x",
        ".DS_Store": b"x",
        "README.md": b"x",
        "LICENSE": b"x",
    }
    assert len(pairs(read(tmp_path, "p.zip", zipped(members)))) == 3


@pytest.mark.parametrize(
    ("patches", "expected"),
    [
        ({6: 1, 0: None}, r"p\.csv in it is encrypted"),
        ({8: 9, 0: None}, r"p\.csv in it is packed by method 9 \(deflate64\)"),
        ({8: 99, 0: None}, r"packed by method 99"),
    ],
)
def test_a_zip_that_cannot_be_unpacked_is_one_line_that_says_why(tmp_path, patches, expected):
    """The flags and the method stand at bytes 6 and 8 of the local header, 8 and 10 of the central one."""
    content = bytearray(zipped({"p.csv": rows_as(".csv")}))
    central = content.index(b"PK\x01\x02")
    for place, value in patches.items():
        if value is not None:
            content[place] = content[central + place + 2] = value
    (tmp_path / "p.zip").write_bytes(content)
    with pytest.raises(InputError, match=expected):
        ingest(tmp_path / "out", pairs_source(tmp_path / "p.zip"))


def test_a_zip_of_several_tables_names_them_and_a_damaged_one_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"found 2: a\.csv, b\.csv"):
        read(tmp_path, "p.zip", zipped({"a.csv": b"x", "b.csv": b"y"}))
    content = bytearray(zipped({"p.csv": rows_as(".csv") * 50}))
    content[60] ^= 0xFF
    with pytest.raises(InputError, match=r"p\.zip: not readable, broken or incomplete"):
        read(tmp_path, "p.zip", bytes(content))


def test_a_compressed_parquet_file_is_an_error_that_says_so(tmp_path):
    with pytest.raises(InputError, match=r"p\.parquet\.gz: a parquet file is compressed in itself"):
        read(tmp_path, "p.parquet.gz", gzip.compress(rows_as(".parquet")))


# Columns that nobody asked for


def test_columns_that_nobody_asked_for_are_not_read(tmp_path):
    far = pa.array([10**7, -(10**7)], pa.date32())
    zone = pa.array([1, 2], pa.timestamp("us", tz="Mars/Olympus"))
    columns = {"left": ["a", "b"], "right": ["c", "d"], "gold": [1.0, 2.0], "left.date": far, "zone": zone}
    columns |= {"vector": [[0.5] * 9999] * 2, "duration": pa.array([1, 2], pa.duration("ns"))}
    pq.write_table(pa.table(columns), tmp_path / "p.parquet")
    assert len(pairs(ingest(tmp_path / "out", pairs_source(tmp_path / "p.parquet")))) == 2
    for column in ("left.date", "zone", "vector"):
        source = pairs_source(tmp_path / "p.parquet", columns=COLUMNS | {"score": column})
        if column == "vector":
            with pytest.raises(InputError, match="vector: expected a number"):
                ingest(tmp_path / "out", source)
        else:
            assert "expected texts, numbers or lists of them, found" in message(tmp_path, source)


def test_of_objects_in_a_list_only_the_text_is_read(tmp_path):
    when = pa.array([[10**7]], pa.list_(pa.date32())).flatten()
    passages = pa.StructArray.from_arrays([pa.array(["b"]), when], ["text", "date"])
    lists = pa.ListArray.from_arrays([0, 1], passages)
    pq.write_table(pa.table({"query": ["a"], "pos": lists}), tmp_path / "p.parquet")
    assert [row[2] for row in table(ingest(tmp_path / "out", flag_source(tmp_path / "p.parquet")), "corpus")] == ["b"]


# JSON lists


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz"])
def test_a_json_list_is_read(tmp_path, monkeypatch, indent, name):
    rows = [{"query": f"q {n}", "pos": [f"a, [b] {n}"]} for n in range(20)]
    content = json.dumps(rows, indent=indent, ensure_ascii=False).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    for size in (2**23, 11):
        monkeypatch.setattr("codiemb_pipeline.ingest.compressed.BLOCK_BYTES", size)
        out = ingest(tmp_path / "out", flag_source(path))
        assert [row[:2] for row in table(out, "queries")] == [(f"q{n + 1}", f"q {n}") for n in range(20)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[{"left": "a"}, {"left": ', "item 2 of the list"),
        ('[{"left": "a"} {"left": "b"}]', "item 2 of the list: expected a comma"),
        ('[{"left": "a"}] {"left": "b"}', "expected nothing after the list of 1 items"),
        ('[{"left": "a"},]', "item 2 of the list"),
        ('[{"left": "a"}', "expected a comma or the end of the list, found the end of the file"),
        ("[]", "expected rows, found none"),
        ('{\n  "left": "a",\n  "right": "b"\n}', "found an object over several lines"),
    ],
)
def test_a_broken_json_list_is_one_line_that_names_the_item(tmp_path, content, expected):
    (tmp_path / "a.json").write_text(content)
    assert expected in message(tmp_path, pairs_source(tmp_path / "a.json"), tolerance=1.0)


def test_items_of_a_list_that_are_no_rows_are_bad_rows(tmp_path):
    rows = [{"left": "a", "right": "b", "gold": 1}, 5, {"left": "a"}, [1], {"left": "c", "right": "d", "gold": 2}]
    out = read(tmp_path, "a.json", json.dumps(rows), tolerance=0.9)
    assert [(entry["row"], entry["field"]) for entry in rejects(out)] == [(2, "(line)"), (3, "right"), (4, "(line)")]
    assert len(pairs(out)) == 2
