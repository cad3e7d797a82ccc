"""Small sources on disk, written the way a user would and as the registry declares, and the stage run on them."""

import bz2
import gzip
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.run import ingest_sources
from codiemb_pipeline.params.ingest import IngestParams

COLUMNS = {"text_a": "left", "text_b": "right", "score": "gold"}
ALL_TRAIN = {"train": 1, "dev": 0, "test": 0}
SHARES = {"train": 0.6, "dev": 0.2, "test": 0.2}

CORPUS = [
    {"_id": "d1", "title": "Wings", "text": "lift of a wing"},
    {"_id": "d2", "title": "", "text": "drag of a body"},
    {"_id": "d3", "title": "Only a title", "text": ""},
]
QUERIES = [{"_id": "q1", "text": "what lifts a wing"}, {"_id": "q2", "text": "what is drag"}]
QRELS = {"train": [("q1", "d1", 2), ("q1", "d3", 1)], "test": [("q2", "d2", 1)]}


def write_lines(path: Path, rows: Iterable[Any]) -> Path:
    """Write a jsonl; a row that is text goes in as it stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_beir(folder: Path, corpus: list = CORPUS, queries: list = QUERIES, qrels: dict = QRELS) -> Path:
    write_lines(folder / "corpus.jsonl", corpus)
    write_lines(folder / "queries.jsonl", queries)
    for split, rows in qrels.items():
        lines = ["\t".join(map(str, row)) for row in [("query-id", "corpus-id", "score"), *rows]]
        write_lines(folder / "qrels" / f"{split}.tsv", lines)
    return folder


def pairs_source(path: Path, **changes: Any) -> dict[str, Any]:
    source = {"task": "sts", "reader": "pairs", "path": str(path), "splits": ALL_TRAIN, "score_range": [0, 5]}
    return source | {"columns": COLUMNS} | changes


def beir_source(path: Path, **changes: Any) -> dict[str, Any]:
    return {"task": "ir", "reader": "beir", "path": str(path), "splits": None} | changes


def flag_source(path: Path, **changes: Any) -> dict[str, Any]:
    return {"task": "ir", "reader": "flag_embedding", "path": str(path), "splits": ALL_TRAIN} | changes


def ingest(out: Path, source: dict[str, Any], *, tolerance: float = 0.0, seed: int = 7, name: str = "mine") -> Path:
    """Run the stage on one source; returns ``out``."""
    values = {"seed": seed, "tolerance": tolerance, "sources": {name: source}}
    out.mkdir(parents=True, exist_ok=True)
    ingest_sources(IngestParams.parse(values, "ingest"), out)
    return out


def table(out: Path, which: str, name: str = "mine") -> list[tuple]:
    """Return the rows of one table as plain tuples."""
    return list(pd.read_parquet(out / name / f"{which}.parquet").itertuples(index=False, name=None))


def pairs(out: Path) -> list[tuple]:
    """Return the texts and the gold of all pairs."""
    return [tuple(row[1:4]) for row in table(out, "pairs")]


def message(tmp_path: Path, source: dict[str, Any], **changes: Any) -> str:
    """Return the one line that the stage ends with on a source."""
    with pytest.raises(InputError) as caught:
        ingest(tmp_path / "out", source, **changes)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def counts(out: Path, name: str = "mine") -> dict[str, Any]:
    return json.loads((out / "counts.json").read_text(encoding="utf-8"))["sources"][name]


def rejects(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]


def run_registered(tmp_path: Path, name: str, path: Path, *, tolerance: float = 0.0, **changes: Any) -> Path:
    """Run the stage on a registered source; returns its output."""
    return ingest(tmp_path / "out", registered_source(name, path, **changes), tolerance=tolerance)


HALF = {"train": 0.5, "dev": 0.5, "test": 0}


def registered_source(name: str, path: Path | None, **changes: Any) -> dict[str, Any]:
    return {"registered": name, "path": None if path is None else str(path), "splits": None} | changes


def write_t2ranking(folder: Path, **tables: list[str]) -> Path:
    """q1: p1 perfect, p2 good, p3 on the topic only, p4 useless; q2: p4 good; q3: nothing relevant."""
    files = {
        "collection": ["pid\ttext", "1\tfirst passage", "2\tsecond passage", "3\tthird passage", "4\tfourth passage"],
        "queries_train": ["qid\ttext", "1\tone question", "2\tanother question", "3\tno answer"],
        "qrels_retrieval_train": ["qid\tpid", "1\t1", "1\t2", "2\t4"],
        "qrels_train": ["qid\t-\tpid\trel", "1\t0\t1\t3", "1\t0\t2\t2", "1\t0\t3\t1", "1\t0\t4\t0", "2\t0\t4\t2"],
    }
    for name, lines in (files | tables).items():
        write_lines(folder / f"{name.replace('_', '.')}.tsv", lines)
    return folder


def write_multi_cpr(folder: Path, corpus: dict[str, bytes]) -> Path:
    """No file names its columns; ``corpus`` holds the bytes of its part files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in corpus.items():
        (folder / name).write_bytes(content)
    write_lines(folder / "train.query.txt", ["1\t手机壳", "2\t连衣裙"])
    write_lines(folder / "qrels.train.tsv", ["1\t0\t10\t1", "2\t0\t30\t1"])
    return folder


def write_zip(path: Path, name: str, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, "".join(f"{line}\n" for line in lines))
    return path


def write_cmedqa2(folder: Path) -> Path:
    """Question 7 has answers 1 and 2, and 3 and 4 as negatives of either; question 8 is of no training candidate."""
    write_zip(folder / "question.zip", "question.csv", ["question_id,content", '7,"a pain, in the back"', "8,a cough"])
    answers = ["ans_id,question_id,content", "1,7,rest", "2,7,walk", "3,8,tea", "4,8,sleep"]
    write_zip(folder / "answer.zip", "answer.csv", answers)
    triples = ["7,1,3", "7,1,4", "7,2,3", "7,2,4"]
    write_zip(folder / "train_candidates.zip", "train_candidates.txt", ["question_id,pos_ans_id,neg_ans_id", *triples])
    return folder


def write_mmarco(folder: Path, rows: list[dict[str, Any]] | None = None) -> Path:
    """Write a part for each row; without scores a positive has 1 and a negative 0."""
    write_lines(folder / "chinese_collection.tsv", ["0\t零", "1\t一", "2\t二", "3\t三"])
    write_lines(folder / "chinese_queries.train.tsv", ["11\t什么是零", "12\t什么是三"])
    rows = rows or [{"qid": 11, "pos": [0], "neg": [1, 2]}, {"qid": 12, "pos": [3, 2], "neg": [0]}]
    (folder / "chinese_bge-reranker-v2-m3").mkdir(parents=True, exist_ok=True)
    for part, row in enumerate(rows):
        scores = {"pos.score": [1.0] * len(row["pos"]), "neg.score": [0.0] * len(row["neg"])}
        file = f"chinese_bge-reranker-v2-m3/train-{part:05}-of-{len(rows):05}.parquet"
        pd.DataFrame([scores | row]).to_parquet(folder / file)
    return folder


def write_gzip(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0))
    return path


DUREADER = [
    {
        "query_id": "a",
        "query": "what lifts a wing",
        "positive_passages": [{"docid": "x", "text": "lift"}, {"docid": "y", "text": "flow"}],
        "negative_passages": [{"docid": "z", "text": "drag"}],
    },
    {
        "query_id": "b",
        "query": "what is drag",
        "positive_passages": [{"docid": "z", "text": "drag"}],
        "negative_passages": [],
    },
]
READY_MADE = [
    {"query": "what lifts a wing", "positive": ["lift", "flow"], "negative": ["drag"], "answers": []},
    {"query": "what is drag", "positive": ["drag"], "negative": [], "answers": []},
]


def write_cmteb(folder: Path, rows: list[tuple], *, split: str = "train", shards: int = 1) -> Path:
    """One of C-MTEB's data sets as its snapshot lies on disk."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        frame = pd.DataFrame(rows[shard::shards], columns=["sentence1", "sentence2", "score"])
        frame.to_parquet(folder / f"data/{split}-{shard:05}-of-{shards:05}.parquet")
    return folder


SCORED = [("a cat", "a dog", 1.0), ("a bird", "a fish", 3.0), ("red", "blue", 5.0)]
PACK = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


def rows_as(suffix: str, rows: list[tuple] = SCORED) -> bytes:
    frame = pd.DataFrame(rows, columns=list(COLUMNS.values()))
    if suffix == ".parquet":
        return frame.to_parquet()
    if suffix == ".json":
        return json.dumps(frame.to_dict("records"), indent=2).encode()
    if suffix == ".jsonl":
        return frame.to_json(orient="records", lines=True).encode()
    return frame.to_csv(index=False, sep="\t" if suffix == ".tsv" else ",").encode()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()
