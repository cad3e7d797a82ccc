"""Reading files as rows: what csv's quotes may and may not do, and rows numbered as an editor shows them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_files import counts, ingest, pairs_source, rejects, table

from codiemb_pipeline.errors import InputError

HEADER = b"left,right,gold\n"


def run(tmp_path: Path, content: bytes, *, name: str = "pairs.csv", tolerance: float = 0.5) -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return ingest(tmp_path / "out", pairs_source(path), tolerance=tolerance)


def texts(out: Path) -> list[str]:
    return [row[1] for row in table(out, "pairs")]


def test_a_line_break_inside_quotes_stays_and_later_rows_keep_their_line_number(tmp_path):
    out = run(tmp_path, HEADER + b'"one\ntwo",b,1\nc,d,9\ne,f,2\n')
    assert texts(out) == ["one\ntwo", "e"]
    assert [(entry["row"], entry["field"]) for entry in rejects(out)] == [(4, "gold")]


def test_a_quote_that_is_never_closed_is_an_error_however_tolerant(tmp_path):
    rows = b"".join(b"a%d,b%d,1\n" % (number, number) for number in range(5))
    with pytest.raises(InputError, match=r"pairs\.csv: row 7: .*is a quote opened here and never closed\?"):
        run(tmp_path, HEADER + rows + b'"open,b,1\n' + rows, tolerance=1.0)


def test_each_line_that_a_stray_quote_swallows_counts_as_a_bad_row(tmp_path):
    """Lines 3 to 5 become one field of two; the good rows among them are lost, so the count must say three."""
    out = run(tmp_path, HEADER + b'a,b,1\n"c,d,1\ne,f,1\ng"x,h,1\ni,j,1\nk,l,1\n')
    assert [entry["row"] for entry in rejects(out)] == [3, 4, 5]
    assert counts(out)["rows"] == 6
    assert texts(out) == ["a", "i", "k"]


def test_quotes_are_plain_characters_in_tsv(tmp_path):
    out = run(tmp_path, b'left\tright\tgold\n"a\tb"\t1\n', name="pairs.tsv")
    assert texts(out) == ['"a']


def test_a_mark_at_the_start_and_windows_line_ends_are_no_part_of_the_text(tmp_path):
    out = run(tmp_path, b"\xef\xbb\xbfleft\tright\tgold\r\na\tb\t5\r\n", name="pairs.tsv")
    assert table(out, "pairs")[0][1:4] == ("a", "b", 1.0)


def test_a_field_longer_than_the_csv_module_allows_by_itself_is_read(tmp_path):
    assert [len(text) for text in texts(run(tmp_path, HEADER + b"x" * 200_000 + b",b,1\n"))] == [200_000]


def test_a_column_that_the_header_names_twice_is_an_error(tmp_path):
    with pytest.raises(InputError, match="column 'left': expected once, found 2 times"):
        run(tmp_path, b"left,right,gold,left\na,b,1,c\n")


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.tsv"])
def test_a_header_that_is_not_utf8_lacks_the_column(tmp_path, name):
    content = b"lef\xe9t,right,gold\na,b,1\n"
    with pytest.raises(InputError, match=rf"{name}: column 'left': missing"):
        run(tmp_path, content.replace(b",", b"\t") if name.endswith("tsv") else content, name=name)


@pytest.mark.parametrize("score", ["1" + "0" * 400, "1" + "0" * 5000])
def test_a_number_too_large_is_a_bad_row(tmp_path, score):
    rows = f'{{"left": "a", "right": "b", "gold": {score}}}\n{{"left": "c", "right": "d", "gold": 1}}\n'
    out = run(tmp_path, rows.encode(), name="pairs.jsonl")
    assert [entry["row"] for entry in rejects(out)] == [1]
    assert texts(out) == ["c"]


def test_a_parquet_text_that_is_not_utf8_is_an_error_that_names_the_file(tmp_path):
    buffers = pa.array([b"fine", b"\xff\xfe"]).buffers()
    left = pa.Array.from_buffers(pa.string(), 2, buffers)
    path = tmp_path / "pairs.parquet"
    pq.write_table(pa.table({"left": left, "right": ["a", "b"], "gold": [1.0, 2.0]}), path)
    with pytest.raises(InputError, match=r"pairs\.parquet: after row 0: .*UTF8"):
        ingest(tmp_path / "out", pairs_source(path))


def test_a_file_that_only_calls_itself_parquet_is_an_error_that_names_it(tmp_path):
    with pytest.raises(InputError, match=r"pairs\.parquet: after row 0: not readable as parquet"):
        run(tmp_path, b"left,right,gold\n", name="pairs.parquet")


def test_an_unknown_suffix_is_an_error_that_lists_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"suffix: expected one of \.jsonl, .*; found '\.txt'"):
        run(tmp_path, b"a\n", name="pairs.txt")
