"""JSON files: the same value the same bytes; what is no JSON is an error that names file and place."""

import pytest

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, read_jsonl, write_json, write_jsonl


def test_the_order_of_keys_does_not_change_the_bytes(tmp_path):
    write_json(tmp_path / "one.json", {"b": 1, "a": {"d": 2, "c": 3}})
    write_json(tmp_path / "two.json", {"a": {"c": 3, "d": 2}, "b": 1})
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_json_is_indented_sorted_utf8_and_ends_in_a_line_break(tmp_path):
    write_json(tmp_path / "deep" / "er" / "one.json", {"b": "café", "a": 0.1})
    expected = '{\n  "a": 0.1,\n  "b": "café"\n}\n'
    assert (tmp_path / "deep" / "er" / "one.json").read_bytes() == expected.encode()


def test_what_was_written_is_read_back(tmp_path):
    value = {"text": 'two\nlines and a "quote" \u2028', "list": [1, 0.1, None, True]}
    write_json(tmp_path / "one.json", value)
    assert read_json(tmp_path / "one.json") == value
    assert write_jsonl(tmp_path / "rows.jsonl", [value, {}]) == 2
    assert list(read_jsonl(tmp_path / "rows.jsonl")) == [value, {}]


def test_jsonl_is_one_sorted_object_a_line(tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", iter([{"b": "é", "a": "x\ny"}, {"c": 1}]))
    assert (tmp_path / "rows.jsonl").read_bytes() == '{"a": "x\\ny", "b": "é"}\n{"c": 1}\n'.encode()


def test_no_rows_make_an_empty_file(tmp_path):
    assert write_jsonl(tmp_path / "rows.jsonl", []) == 0
    assert (tmp_path / "rows.jsonl").read_bytes() == b""
    assert list(read_jsonl(tmp_path / "rows.jsonl")) == []


def test_a_missing_json_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: expected a JSON file, found none"):
        read_json(tmp_path / "none.json")


def test_broken_json_is_named_with_line_and_column(tmp_path):
    (tmp_path / "bad.json").write_text('{\n  "a": }\n')
    with pytest.raises(InputError, match=r"bad\.json: line 2, column 8: not JSON"):
        read_json(tmp_path / "bad.json")


@pytest.mark.parametrize(("line", "reason"), [("{", "not JSON"), ("[1]", "expected an object, found list")])
def test_a_broken_row_is_named_with_its_number(tmp_path, line, reason):
    (tmp_path / "rows.jsonl").write_text(f'{{"a": 1}}\n{line}\n')
    rows = read_jsonl(tmp_path / "rows.jsonl")
    assert next(rows) == {"a": 1}
    with pytest.raises(InputError, match=rf"rows\.jsonl: row 2: {reason}"):
        next(rows)


def test_a_file_that_is_not_utf8_or_a_folder_is_an_error_that_names_it(tmp_path):
    (tmp_path / "one.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(InputError, match=r"one\.json: not UTF-8 at byte 7"):
        read_json(tmp_path / "one.json")
    with pytest.raises(InputError, match="not readable as JSON"):
        read_json(tmp_path)
