"""Ten kinds of bad input: each a short error that names file, row, field, what was expected and what was found."""

from __future__ import annotations

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
    return message


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.touch()
    message = message_of(tmp_path, pairs_source(path))
    assert message == f"{path}: expected rows, found an empty file"


@pytest.mark.parametrize("content", ["left\tright\tgold\n", "\n\n"])
def test_a_file_without_rows_is_an_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / ("table.tsv" if "left" in content else "lines.jsonl")
    path.write_text(content)
    assert message_of(tmp_path, pairs_source(path)) == f"{path}: expected rows, found none"


def test_a_wrong_column_of_a_table_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.csv", ["left,right,golds", "a,b,1"])
    assert message_of(tmp_path, pairs_source(path)) == f"{path}: column 'gold': missing (did you mean 'golds'?)"


def test_a_wrong_field_of_a_jsonl_is_named_with_its_row(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.jsonl", [GOOD, {"left": "a", "rigth": "b", "gold": 1}])
    message = message_of(tmp_path, pairs_source(path))
    assert f"{path}: row 2: right: missing (did you mean 'rigth'?)" in message
    assert "1 of 2 rows are bad, over ingest.tolerance = 0" in message


@pytest.mark.parametrize("score", ["NaN", '"nan"', "Infinity"])
def test_a_score_that_is_no_finite_number_is_named(tmp_path: Path, score: str) -> None:
    path = write_lines(tmp_path / "pairs.jsonl", [GOOD, f'{{"left": "a", "right": "b", "gold": {score}}}'])
    message = message_of(tmp_path, pairs_source(path))
    assert f"{path}: row 2: gold: expected a finite number, found " in message


def test_a_score_outside_the_declared_range_is_named(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.csv", ["left,right,gold", "a,b,5", "c,d,5.5"])
    message = message_of(tmp_path, pairs_source(path))
    assert f"{path}: row 3: gold: expected a score within [0, 5] (score_range), found 5.5" in message


def test_an_unknown_document_in_the_qrels_is_named(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "beir", qrels=QRELS | {"test": [("q2", "d2", 1), ("q2", "d99", 1)]})
    message = message_of(tmp_path, beir_source(folder))
    expected = "row 3: corpus-id: expected a known id, found 'd99', which corpus.jsonl lacks"
    assert f"{folder}/qrels/test.tsv: {expected}" in message


def test_an_unknown_query_in_the_qrels_is_named(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "beir", qrels=QRELS | {"test": [("q9", "d2", 1)]})
    message = message_of(tmp_path, beir_source(folder))
    expected = "row 2: query-id: expected a known id, found 'q9', which queries.jsonl lacks"
    assert f"{folder}/qrels/test.tsv: {expected}" in message


@pytest.mark.parametrize(("file", "entries"), [("corpus", CORPUS), ("queries", QUERIES)])
def test_a_repeated_id_is_named(tmp_path: Path, file: str, entries: list) -> None:
    repeated = [*entries, {"_id": entries[0]["_id"], "text": "something else"}]
    folder = write_beir(tmp_path / "beir", **{file: repeated})
    message = message_of(tmp_path, beir_source(folder))
    expected = f"_id: expected ids that differ, found {entries[0]['_id']!r} again"
    assert f"{folder}/{file}.jsonl: row {len(repeated)}: {expected}" in message


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(b'{"left": "a", "right": "b", "gold": 1}\n{"left": "caf\xe9", "right": "b", "gold": 1}\n')
    message = message_of(tmp_path, pairs_source(path))
    assert f"{path}: row 2: (line): not UTF-8 at byte 13 of the line" in message


def test_a_field_of_a_table_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_bytes(b"left\tright\tgold\na\tb\t1\nc\tcaf\xe9\t1\n")
    message = message_of(tmp_path, pairs_source(path))
    assert f"{path}: row 3: right: not UTF-8: 'caf" in message
    message.encode()


def test_text_where_a_list_belongs_is_named(tmp_path: Path) -> None:
    rows = [{"query": "a", "pos": ["b"]}, {"query": "c", "pos": "not a list"}]
    path = write_lines(tmp_path / "train.jsonl", rows)
    message = message_of(tmp_path, flag_source(path))
    assert f"{path}: row 2: pos: expected a list of texts, found 'not a list'" in message


def test_something_else_in_a_list_of_texts_is_named_with_its_place(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "train.jsonl", [{"query": "a", "pos": ["b"], "neg": ["c", 5]}])
    assert f"{path}: row 1: neg[1]: expected text, found 5" in message_of(tmp_path, flag_source(path))


@pytest.mark.parametrize("text", ["", " \t"])
def test_an_empty_text_is_named(tmp_path: Path, text: str) -> None:
    path = write_lines(tmp_path / "pairs.jsonl", [GOOD, GOOD | {"right": text}])
    message = message_of(tmp_path, pairs_source(path))
    assert f"{path}: row 2: right: expected text, found an empty one" in message


def test_an_empty_query_is_named(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "beir", queries=[*QUERIES, {"_id": "q3", "text": ""}])
    message = message_of(tmp_path, beir_source(folder))
    assert f"{folder}/queries.jsonl: row 3: text: expected text, found an empty one" in message


def test_a_typo_in_the_params_is_named_with_the_nearest_key(tmp_path: Path) -> None:
    source = pairs_source(tmp_path / "pairs.jsonl")
    source["score_rnge"] = source.pop("score_range")
    message = message_of(tmp_path, source)
    assert "params.yaml: ingest.sources.mine.score_rnge: unknown parameter (did you mean 'score_range'?)" in message


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    message = message_of(tmp_path, pairs_source(tmp_path / "nowhere.csv"))
    assert message.startswith("params.yaml: ingest.sources.mine.path: expected an existing path, found nothing at ")


def test_half_a_character_in_a_title_is_named(tmp_path: Path) -> None:
    broken = r'{"_id": "d4", "title": "half \ud83d", "text": "of a smile"}'
    folder = write_beir(tmp_path / "beir", corpus=[*CORPUS, broken])
    message = message_of(tmp_path, beir_source(folder))
    assert f"{folder}/corpus.jsonl: row 4: title: expected text, found half a character" in message
    message.encode()


def test_a_title_that_is_no_text_is_named(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "beir", corpus=[*CORPUS, {"_id": "d4", "title": ["a"], "text": "b"}])
    message = message_of(tmp_path, beir_source(folder))
    assert f"{folder}/corpus.jsonl: row 4: title: expected text, found ['a']" in message


def test_of_many_bad_rows_the_first_ten_are_shown(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.jsonl", [GOOD | {"gold": 9}] * 25)
    lines = message_of(tmp_path, pairs_source(path)).splitlines()
    assert len(lines) == 12
    assert lines[0] == "source 'mine': 25 of 25 rows are bad, over ingest.tolerance = 0"
    assert lines[1].startswith(f"  {path}: row 1: ")
    assert lines[10].startswith(f"  {path}: row 10: ")
    assert lines[11] == "  and 15 more"


def test_a_field_of_thousands_of_characters_stays_one_short_line(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.jsonl", [GOOD | {"gold": "x\n" * 5000}])
    lines = message_of(tmp_path, pairs_source(path)).splitlines()
    assert len(lines) == 2
    assert len(lines[1]) < len(str(path)) + 250


def test_under_the_tolerance_bad_rows_are_counted_and_set_aside_and_good_rows_kept(tmp_path: Path) -> None:
    rows = [GOOD, GOOD | {"left": ""}, GOOD | {"left": "a fish", "gold": 1}, GOOD | {"left": "a bird", "gold": 7}]
    path = write_lines(tmp_path / "pairs.jsonl", rows)
    out = ingest(tmp_path / "out", pairs_source(path), tolerance=0.5)
    assert counts(out)["rows"] == 4
    assert counts(out)["rejected"] == 2
    assert counts(out)["splits"] == {"train": 2, "dev": 0, "test": 0}
    reasons = ["expected text, found an empty one", "expected a score within [0, 5] (score_range), found 7"]
    place = {"source": "mine", "file": str(path)}
    assert rejects(out) == [
        {**place, "row": 2, "field": "left", "reason": reasons[0]},
        {**place, "row": 4, "field": "gold", "reason": reasons[1]},
    ]
    assert [row[1:4] for row in table(out, "pairs")] == [("a cat", "a dog", 0.8), ("a fish", "a dog", 0.2)]


def test_one_row_over_the_tolerance_is_an_error(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.jsonl", [GOOD, GOOD | {"left": ""}, GOOD | {"gold": 7}])
    message = message_of(tmp_path, pairs_source(path), tolerance=0.5)
    assert message.startswith("source 'mine': 2 of 3 rows are bad, over ingest.tolerance = 0.5\n")


def test_a_source_of_which_nothing_is_left_is_an_error_whatever_the_tolerance(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.jsonl", [GOOD | {"gold": 7}])
    message = message_of(tmp_path, pairs_source(path), tolerance=1.0)
    assert message == "source 'mine': nothing is left of 1 rows: all bad"


def test_a_row_of_too_few_fields_is_named(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "pairs.tsv", ["left\tright\tgold", "a\tb"])
    message = message_of(tmp_path, pairs_source(path))
    assert f"{path}: row 2: (row): expected 3 fields, found 2" in message


def test_a_beir_folder_without_a_corpus_is_named(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "beir")
    (folder / "corpus.jsonl").unlink()
    assert message_of(tmp_path, beir_source(folder)) == f"{folder}/corpus.jsonl: expected a file, found none"


def test_a_query_without_a_positive_is_named(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "train.jsonl", [{"query": "a", "pos": []}])
    message = message_of(tmp_path, flag_source(path))
    assert f"{path}: row 1: pos: expected one text at least, found none" in message
