"""Registered sources in small: folders with the files and columns that the registry declares."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
from source_files import write_lines

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
    write_lines(folder / "chinese_collection.tsv", ["0\t零", "1\t一", "2\t二", "3\t三"])
    write_lines(folder / "chinese_queries.train.tsv", ["11\t什么是零", "12\t什么是三"])
    rows = rows or [{"qid": 11, "pos": [0], "neg": [1, 2]}, {"qid": 12, "pos": [3, 2], "neg": [0]}]
    scored = [{**row, "pos.score": [1.0], "neg.score": [0.0]} for row in rows]
    (folder / "hard_negatives").mkdir(parents=True, exist_ok=True)
    for part, row in enumerate(scored):
        pd.DataFrame([row]).to_parquet(folder / f"hard_negatives/{part}.parquet")
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
