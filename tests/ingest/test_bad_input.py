"""Bad input: each fault a short error that names file, row, field, what was expected and what was found."""

from pathlib import Path
from typing import Any

import pytest
from source_files import (
    CORPUS,
    QRELS,
    QUERIES,
    beir_source,
    counts,
    flag_source,
    ingest,
    pairs_source,
    rejects,
    table,
    write_beir,
    write_lines,
)

from codiemb_pipeline.errors import InputError

GOOD = {"left": "a cat", "right": "a dog", "gold": 4}


def message_of(tmp_path: Path, source: dict[str, Any], **changes: Any) -> str:
    """Return what the user reads; at most a dozen lines, whatever the fault."""
    with pytest.raises(InputError) as caught:
        ingest(tmp_path / "out", source, **changes)
    message = str(caught.value)
    assert len(message.splitlines()) <= 12
    message.encode()
    return message


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("empty.jsonl", "", "expected rows, found an empty file"),
        ("table.tsv", "left\tright\tgold\n", "expected rows, found none"),
        ("lines.jsonl", "\n\n", "expected rows, found none"),
        ("pairs.csv", "left,right,golds\na,b,1\n", "column 'gold': missing (did you mean 'golds'?)"),
    ],
)
def test_a_file_without_rows_or_columns_is_named(tmp_path, file, content, expected):
    path = tmp_path / file
    path.write_text(content)
    assert message_of(tmp_path, pairs_source(path)).strip() == f"{path}: {expected}"


@pytest.mark.parametrize(
    ("bad", "field", "reason"),
    [
        ('{"left": "a", "rigth": "b", "gold": 1}', "right", "missing (did you mean 'rigth'?)"),
        ('{"left": "a", "right": "b", "gold": NaN}', "gold", "expected a finite number, found nan"),
        ('{"left": "a", "right": "b", "gold": "nan"}', "gold", "expected a finite number, found 'nan'"),
        ('{"left": "a", "right": "b", "gold": Infinity}', "gold", "expected a finite number, found inf"),
        ('{"left": "a", "right": "b", "gold": true}', "gold", "expected a finite number, found True"),
        ('{"left": "a", "right": "b", "gold": 5.5}', "gold", "expected a score within [0, 5] (score_range), found 5.5"),
        ('{"left": "a", "right": "", "gold": 1}', "right", "expected text, found an empty one"),
        ('{"left": "a", "right": " \\t", "gold": 1}', "right", "expected text, found an empty one"),
        ('{"left": "a", "right": 5, "gold": 1}', "right", "expected text, found 5"),
        ('["a", "b", 1]', "(line)", "expected an object, found ['a', 'b', 1]"),
        ('{"left": "a", "right": "b", "gold": 1', "(line)", "not JSON (Expecting ',' delimiter, column 38)"),
        ('{"left": "a", "right": "b", "gold": 1} {}', "(line)", "not JSON (Extra data, column 40)"),
    ],
)
def test_a_bad_row_of_a_jsonl_is_named(tmp_path, bad, field, reason):
    path = write_lines(tmp_path / "pairs.jsonl", [GOOD, bad, GOOD])
    message = message_of(tmp_path, pairs_source(path))
    assert f"{path}: row 2: {field}: {reason}" in message
    assert "1 of 3 rows are bad, over ingest.tolerance = 0" in message


def test_a_number_is_no_text_even_where_all_rows_have_one(tmp_path):
    path = write_lines(tmp_path / "pairs.jsonl", [GOOD | {"left": 5}, GOOD | {"left": 6}])
    assert f"{path}: row 2: left: expected text, found 6" in message_of(tmp_path, pairs_source(path))


@pytest.mark.parametrize(
    ("lines", "row", "field", "reason"),
    [
        (["left\tright\tgold", "a\tb"], 2, "(row)", "expected 3 fields, found 2"),
        (["left\tright\tgold", "a\tb\t1", "", "c\td\t1\t2"], 4, "(row)", "expected 3 fields, found 4"),
        (["left\tright\tgold", "a\tb\t1", "\tc\t1"], 3, "left", "expected text, found an empty one"),
        (["left\tright\tgold", "a\tb\t1", "c\td\t"], 3, "gold", "expected a number, found ''"),
    ],
)
def test_a_bad_row_of_a_table_is_named(tmp_path, lines, row, field, reason):
    path = write_lines(tmp_path / "pairs.tsv", lines)
    assert f"{path}: row {row}: {field}: {reason}" in message_of(tmp_path, pairs_source(path))


@pytest.mark.parametrize(
    ("name", "content", "row", "field"),
    [
        ("pairs.jsonl", b'\n{"left": "\xe9", "right": "b", "gold": 1}\n', 2, "left"),
        ("pairs.jsonl", b'{"left": "a", "right": "half \\ud83d", "gold": 1}\n', 1, "right"),
        ("pairs.tsv", b"left\tright\tgold\na\tb\t1\nc\tcaf\xe9\t1\n", 3, "right"),
        ("pairs.csv", b"left,right,gold\na,b,1\nc,d,\xe9\n", 3, "gold"),
    ],
)
def test_a_field_that_is_not_utf8_is_named(tmp_path, name, content, row, field):
    path = tmp_path / name
    path.write_bytes(content)
    assert f"{path}: row {row}: {field}: expected " in message_of(tmp_path, pairs_source(path))


@pytest.mark.parametrize(
    ("part", "bad", "field", "reason"),
    [
        ("corpus", CORPUS[0] | {"text": "other"}, "_id", "expected ids that differ, found 'd1' again"),
        ("queries", {"_id": "q1", "text": "other"}, "_id", "expected ids that differ, found 'q1' again"),
        ("queries", {"_id": "q3", "text": ""}, "text", "expected text, found an empty one"),
        ("corpus", r'{"_id": "d4", "title": "half \ud83d", "text": "of a smile"}', "title", "expected text in UTF-8"),
        ("corpus", {"_id": "d4", "title": ["a"], "text": "b"}, "title", "expected text, found ['a']"),
    ],
)
def test_a_bad_row_of_a_beir_folder_is_named(tmp_path, part, bad, field, reason):
    rows = [*{"corpus": CORPUS, "queries": QUERIES}[part], bad]
    folder = write_beir(tmp_path / "beir", **{part: rows})
    assert f"{folder}/{part}.jsonl: row {len(rows)}: {field}: {reason}" in message_of(tmp_path, beir_source(folder))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (("q2", "d99", 1), "corpus-id: expected a known id, found 'd99', which corpus.jsonl lacks"),
        (("q9", "d2", 1), "query-id: expected a known id, found 'q9', which queries.jsonl lacks"),
    ],
)
def test_a_judgement_of_what_is_not_there_is_named(tmp_path, bad, reason):
    folder = write_beir(tmp_path / "beir", qrels=QRELS | {"test": [("q2", "d2", 1), bad]})
    assert f"{folder}/qrels/test.tsv: row 3: {reason}" in message_of(tmp_path, beir_source(folder))


@pytest.mark.parametrize(
    ("bad", "field", "reason"),
    [
        ({"query": "c", "pos": "not a list"}, "pos", "expected a list of texts, found 'not a list'"),
        ({"query": "a", "pos": ["b"], "neg": ["c", 5]}, "neg[1]", "expected text, found 5"),
        ({"query": "a", "pos": []}, "pos", "expected one text at least, found none"),
    ],
)
def test_a_bad_list_of_texts_is_named_with_the_place_in_it(tmp_path, bad, field, reason):
    path = write_lines(tmp_path / "train.jsonl", [{"query": "a", "pos": ["b"]}, bad])
    assert f"{path}: row 2: {field}: {reason}" in message_of(tmp_path, flag_source(path))


def test_a_typo_in_the_params_is_named_with_the_nearest_key(tmp_path):
    source = pairs_source(tmp_path / "pairs.jsonl")
    source["score_rnge"] = source.pop("score_range")
    message = message_of(tmp_path, source)
    assert "params.yaml: ingest.sources.mine.score_rnge: unknown parameter (did you mean 'score_range'?)" in message


def test_a_source_that_is_not_there_is_named(tmp_path):
    message = message_of(tmp_path, pairs_source(tmp_path / "nowhere.csv"))
    assert message.startswith("params.yaml: ingest.sources.mine.path: expected an existing path, found nothing at ")


def test_a_beir_folder_without_a_corpus_is_named(tmp_path):
    folder = write_beir(tmp_path / "beir")
    (folder / "corpus.jsonl").unlink()
    assert message_of(tmp_path, beir_source(folder)) == f"{folder}/corpus.jsonl: expected a file, found none"


def test_of_many_bad_rows_the_first_ten_are_shown(tmp_path):
    path = write_lines(tmp_path / "pairs.jsonl", [GOOD | {"gold": 9}] * 25)
    lines = message_of(tmp_path, pairs_source(path)).splitlines()
    assert lines[0] == "source 'mine': 25 of 25 rows are bad, over ingest.tolerance = 0"
    assert [line.split(": row ")[1].split(":")[0] for line in lines[1:11]] == [f"{row}" for row in range(1, 11)]
    assert lines[11:] == ["  and 15 more"]


def test_a_field_of_thousands_of_characters_stays_one_short_line(tmp_path):
    path = write_lines(tmp_path / "pairs.jsonl", [GOOD | {"gold": "x\n" * 5000}])
    lines = message_of(tmp_path, pairs_source(path)).splitlines()
    assert len(lines) == 2
    assert len(lines[1]) < len(str(path)) + 250


def test_under_the_tolerance_bad_rows_are_counted_and_set_aside_and_good_rows_kept(tmp_path):
    rows = [GOOD, GOOD | {"left": ""}, GOOD | {"left": "a fish", "gold": 1}, GOOD | {"left": "a bird", "gold": 7}]
    path = write_lines(tmp_path / "pairs.jsonl", rows)
    out = ingest(tmp_path / "out", pairs_source(path), tolerance=0.5)
    assert (counts(out)["rows"], counts(out)["rejected"]) == (4, 2)
    assert counts(out)["splits"] == {"train": 2, "dev": 0, "test": 0}
    place = {"source": "mine", "file": str(path)}
    assert rejects(out) == [
        {**place, "row": 2, "field": "left", "reason": "expected text, found an empty one"},
        {**place, "row": 4, "field": "gold", "reason": "expected a score within [0, 5] (score_range), found 7"},
    ]
    assert [row[1:4] for row in table(out, "pairs")] == [("a cat", "a dog", 0.8), ("a fish", "a dog", 0.2)]


def test_one_row_over_the_tolerance_is_an_error(tmp_path):
    path = write_lines(tmp_path / "pairs.jsonl", [GOOD, GOOD | {"left": ""}, GOOD | {"gold": 7}])
    message = message_of(tmp_path, pairs_source(path), tolerance=0.5)
    assert message.startswith("source 'mine': 2 of 3 rows are bad, over ingest.tolerance = 0.5\n")


def test_a_source_of_which_nothing_is_left_is_an_error_whatever_the_tolerance(tmp_path):
    path = write_lines(tmp_path / "pairs.jsonl", [GOOD | {"gold": 7}])
    message = message_of(tmp_path, pairs_source(path), tolerance=1.0)
    assert message == "source 'mine': nothing is left of 1 rows: all bad"
