"""Readers of sources under any rows and damaged files: what comes out is right, or it is InputError.

Oracle of the random rows: what the rows say themselves, by rules written out one row at a time (``expected_pairs``).
Oracle of the damaged files: of a format with checksums, each row that comes out is one of the sound file's.
"""

import bz2
import gzip
import io
import json
import os
import tempfile
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.run import ingest_sources
from codiemb_pipeline.params.ingest import IngestParams

FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
PACK = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}
COLUMNS = {"text_a": "left", "text_b": "right", "score": "gold"}
MEAN = [
    '"',
    '""',
    'say "hi"',
    "two\nlines",
    "a\tb",
    "a\rb",
    "\ufeff",
    "\0",
    "\u200b",
    "c",
    "C++",
    "c#",
    "ไม่",
    "ไม",
    "😀",
    "[",
]
TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(MEAN)
SCORE = st.sampled_from([0, 1, 2.5, 5, "3", " 4 ", "1_0", "٣", True, None, "", 6, -1, "nan", 10**400])
ROW = st.fixed_dictionaries({"left": TEXT, "right": TEXT, "gold": SCORE})


def read(folder: Path, name: str, content: bytes, tolerance: float = 1.0, splits: Any = "all") -> list[tuple] | None:
    """Return the pairs that come out of a file, or ``None`` where it is InputError."""
    path = folder / name
    path.write_bytes(content)
    shares = {"train": 1, "dev": 0, "test": 0} if splits == "all" else splits
    source = {"task": "sts", "reader": "pairs", "path": str(path), "splits": shares, "score_range": [0, 5]}
    params = {"seed": 1, "tolerance": tolerance, "sources": {"s": source | {"columns": COLUMNS}}}
    try:
        ingest_sources(IngestParams.parse(params, "ingest"), folder / "out")
    except InputError as error:
        return None if len(str(error).encode().splitlines()) <= 12 else pytest.fail(str(error))
    found = pd.read_parquet(folder / "out/s/pairs.parquet")
    return list(found[["text_a", "text_b", "gold"]].itertuples(index=False, name=None))


def written(suffix: str, rows: list[dict[str, Any]]) -> bytes:
    if suffix == ".json":
        return json.dumps(rows, indent=1).encode()
    if suffix == ".jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    texts = [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
    frame = pd.DataFrame(texts, columns=["left", "right", "gold"])
    if suffix == ".parquet":
        return frame.to_parquet()
    return frame.to_csv(index=False, sep="\t" if suffix == ".tsv" else ",", quoting=1).encode()


def key(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str) and not set(value.strip()) <= set("0123456789.+-eE"):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


# Letters and marks that Unicode's list of default ignorables has, which the standard library lacks.
IGNORABLE = [0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2065, 0x2800, 0x3164, 0xFFA0, *range(0x180B, 0x1810)]
IGNORABLE += [*range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000)]


def shows(text: str) -> bool:
    """Return whether anything of a text is to be seen, by the lists of Unicode that the standard library has."""
    return any(
        unicodedata.category(letter) not in ("Cc", "Cf", "Zs", "Zl", "Zp") and ord(letter) not in IGNORABLE
        for letter in text
    )


def expected_pairs(rows: list[dict[str, Any]]) -> list[tuple]:
    golds: dict[tuple, list[float]] = {}
    first: dict[tuple, tuple[str, str]] = {}
    for row in rows:
        left, right, gold = row["left"].strip(), row["right"].strip(), number(row["gold"])
        if shows(left) and shows(right) and gold is not None and 0 <= gold <= 5:
            pair = tuple(sorted((key(left), key(right))))
            first.setdefault(pair, (left, right))
            golds.setdefault(pair, []).append(gold / 5)
    return [(*first[pair], pytest.approx(sum(found) / len(found), abs=1e-12)) for pair, found in golds.items()]


@pytest.mark.parametrize("suffix", FORMATS)
@given(rows=st.lists(ROW, min_size=1, max_size=6), packed=st.sampled_from(list(PACK)))
def test_of_any_rows_those_that_are_sound_come_out_as_they_are(suffix, rows, packed):
    """Oracle: ``expected_pairs``."""
    packed = "" if suffix == ".parquet" else packed
    with tempfile.TemporaryDirectory() as folder:
        found = read(Path(folder), f"p{suffix}{packed}", PACK[packed](written(suffix, rows)))
    expected = expected_pairs(rows)
    assert found == (expected or None)


SOUND = [{"left": f"left of {n}", "right": f"right of {n}", "gold": n % 6} for n in range(12)]
PARTNER = {row["left"]: (row["right"], row["gold"] / 5) for row in SOUND}
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["cut", "drop", "insert", "flip"]),
        st.floats(0, 1),
        st.sampled_from([b"\n", b"\r", b'"', b"\t", b",", b"{", b"[", b"]", b"\0", b"\xff", b"PK", b"\n\n", b'"\n"']),
    ),
    min_size=1,
    max_size=3,
)


def damaged(content: bytes, changes: list[tuple]) -> bytes:
    for kind, share, piece in changes:
        place = int(share * len(content))
        if kind == "cut":
            content = content[:place]
        elif kind == "drop":
            content = content[:place] + content[place + 1 :]
        elif kind == "insert":
            content = content[:place] + piece + content[place:]
        elif place < len(content):
            content = content[:place] + bytes([content[place] ^ piece[0]]) + content[place + 1 :]
    return content


@pytest.mark.parametrize("suffix", FORMATS)
@given(changes=CHANGES, packed=st.sampled_from([*PACK, ".zip"]))
def test_a_damaged_file_gives_sound_rows_or_input_error(suffix, changes, packed):
    """Oracle: nothing else is raised; all that comes out of a packed file with checksums is sound."""
    content = written(suffix, SOUND)
    if packed == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo(f"p{suffix}"), content)
        content = buffer.getvalue()
    else:
        content = PACK[packed](content)
    with tempfile.TemporaryDirectory() as folder:
        found = read(Path(folder), f"p{suffix}{packed}", damaged(content, changes))
    if packed not in ("", ".zst") and suffix != ".parquet":  # pyarrow writes zstandard without a checksum
        assert found is None or all(PARTNER.get(left) == (right, pytest.approx(gold)) for left, right, gold in found)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@given(
    row=st.integers(0, 11),
    column=st.sampled_from(["left", "right"]),
    place=st.integers(1, 8),
    order=st.permutations(range(3)),
    cut=st.sampled_from(["\n", "\r", "\n\n", "\r\n", "\nand\n"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_a_record_that_is_cut_in_a_text_never_gives_a_row_of_a_part_of_it(suffix, row, column, place, order, cut, end):
    """Oracle: each row that comes out is a sound one, or the cut one whole; at most two sound ones are missing."""
    names = [("left", "right", "gold")[number] for number in order]
    separator = "\t" if suffix == ".tsv" else ","
    rows = [dict(entry) for entry in SOUND]
    rows[row][column] = rows[row][column][:place] + cut + rows[row][column][place:]
    lines = [separator.join(names), *(separator.join(str(entry[name]) for name in names) for entry in rows)]
    with tempfile.TemporaryDirectory() as folder:
        found = read(Path(folder), f"p{suffix}", end.join([*lines, ""]).encode())
    whole = {(entry["left"], entry["right"]) for entry in SOUND[:row] + SOUND[row + 1 :]}
    pairs = {(left, right) for left, right, _ in found}
    assert pairs - whole <= {(rows[row]["left"].strip(), rows[row]["right"].strip())}
    assert len(whole - pairs) <= 2


NAMES = [
    *("train.csv", "Train.jsonl", "dev.tsv", "val.csv.gz", "validation.json", "eval.parquet", "test.zip", "TEST.csv"),
    *("train-00000-of-00002.csv", "train-00001-of-00002.csv", "dev-00001-of-00003.jsonl", "test-00001-of-00001.tsv"),
    *("other.csv", "README.md", ".hidden.csv", "train.csv.incomplete", "train.xlsx"),
]


@given(names=st.sets(st.sampled_from(NAMES), min_size=1, max_size=5), link=st.sampled_from([None, *NAMES]))
def test_every_file_of_a_folder_is_read_named_or_an_error(names, link):
    """Oracle: the texts of each file hold its name, so what was read is known; the rest must be listed as unread."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "p")
        folder.mkdir()
        for name in names:
            suffix = next((suffix for suffix in FORMATS if suffix in name.lower()), ".csv")
            content = written(suffix, [{"left": f"of {name}", "right": "r", "gold": 1}])
            if name.endswith(".zip"):
                buffer = io.BytesIO()
                with zipfile.ZipFile(buffer, "w") as archive:
                    archive.writestr("p.csv", content)
                content = buffer.getvalue()
            (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        if link and link not in names:
            os.symlink("nowhere", folder / link)
        source = {"task": "sts", "reader": "pairs", "path": str(folder), "splits": None, "score_range": [0, 5]}
        params = {"seed": 1, "tolerance": 0, "sources": {"s": source | {"columns": COLUMNS}}}
        try:
            ingest_sources(IngestParams.parse(params, "ingest"), Path(place, "out"))
        except InputError:
            return
        counts = json.loads(Path(place, "out/counts.json").read_text())["sources"]["s"]
        found = pd.read_parquet(Path(place, "out/s/pairs.parquet"))
    read_files = {text.removeprefix("of ") for text in found["text_a"]}
    there = {name for name in names | ({link} if link else set()) if name not in ("README.md", ".hidden.csv")}
    assert read_files | set(counts.get("unread", ())) == there
    assert not read_files & set(counts.get("unread", ()))
