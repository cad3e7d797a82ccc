"""What people's files and folders are like: each is read as it is meant, or one error says what is wrong with it."""

import bz2
import csv
import datetime
import gzip
import json
import logging
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_files import (
    ALL_TRAIN,
    COLUMNS,
    beir_source,
    counts,
    flag_source,
    ingest,
    pairs_source,
    rejects,
    run_registered,
    table,
    write_beir,
    write_cmteb,
    write_lines,
)

from codiemb_pipeline.errors import InputError

HEADER = "left\tright\tgold\n"
ROWS = [("a cat", "a dog", 1.0), ("a bird", "a fish", 3.0), ("red", "blue", 5.0)]
PACK = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


def read(tmp_path: Path, name: str, content: bytes | str, **changes: Any) -> Path:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return ingest(tmp_path / "out", pairs_source(path), **changes)


def pairs(out: Path) -> list[tuple]:
    return [tuple(row[1:4]) for row in table(out, "pairs")]


def message(tmp_path: Path, source: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        ingest(tmp_path / "out", source, **changes)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def rows_as(suffix: str, rows: list[tuple] = ROWS) -> bytes:
    frame = pd.DataFrame(rows, columns=list(COLUMNS.values()))
    if suffix == ".parquet":
        return frame.to_parquet()
    if suffix == ".json":
        return json.dumps(frame.to_dict("records"), indent=2).encode()
    if suffix == ".jsonl":
        return frame.to_json(orient="records", lines=True).encode()
    return frame.to_csv(index=False, sep="\t" if suffix == ".tsv" else ",").encode()


def zipped(name: str, content: bytes, **others: bytes) -> bytes:
    path = Path(pytest.ensuretemp(".") if False else "/dev/null")
    del path
    import io

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in {name: content, **others}.items():
            archive.writestr(member, data)
    return buffer.getvalue()
