"""Miniature training sources of the profiles, as hub and GitHub have them: ids, file names, columns, label kinds.

Texts are random Chinese characters, each its own, so that nothing repeats and no benchmark's text is among them.
"""

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
from mini_benchmarks import write_mini_benchmarks, write_pairs_folder
from tiny_architectures import CHINESE

from codiemb_pipeline.benchmarks.registry import BENCHMARKS

QUERIES, PAIRS, DEV_PAIRS = 100, 60, 12
"""Training queries of each retrieval source, and pairs of each similarity source: more than a batch of the profiles.

Questions and pairs have the names that they have so that the hash of the splits takes some of them for dev.
"""
MINI_HUB_SOURCES = {
    "THUIR/T2Ranking": {
        "data/collection.tsv": lambda: _tsv(["pid\ttext", *_documents("t2")]),
        "data/queries.train.tsv": lambda: _tsv(["qid\ttext", *_questions("t22")]),
        "data/qrels.retrieval.train.tsv": lambda: _tsv(["qid\tpid", *(f"{q}\t{2 * q}" for q in range(QUERIES))]),
        "data/qrels.train.tsv": lambda: _tsv(["qid\t-\tpid\trel", *_grades()]),
    },
    "zyznull/dureader-retrieval-ranking": {
        "train.jsonl.gz": lambda: gzip.compress(_jsonl(_dureader()), mtime=0),
        "dev.jsonl.gz": lambda: gzip.compress(b"", mtime=0),
    },
    "unicamp-dl/mmarco": {
        "data/google/collections/chinese_collection.tsv": lambda: _tsv(_documents("mmarco")),
        "data/google/queries/train/chinese_queries.train.tsv": lambda: _tsv(_questions("mmarco4")),
        "data/triples.train.ids.small.tsv": lambda: _tsv(f"{q}\t{2 * q}\t{2 * q + 1}" for q in range(QUERIES)),
    },
    "hotchpotch/mmarco-hard-negatives-reranker-score": {
        f"chinese_bge-reranker-v2-m3/train-0000{part}-of-00002.parquet": lambda part=part: _scored(part)
        for part in range(2)
    },
    "clue/clue": {
        f"{name}/{split}-00000-of-00001.parquet": lambda name=name, split=split: _entailed(name, split)
        for name in ("cmnli", "ocnli")
        for split in ("train", "validation", "test")
    },
}
"""Files by path by id; those of C-MTEB are folders, since some are benchmarks as well."""
MINI_GITHUB = {
    "zhangsheng93/cMedQA2": {
        "question.zip": lambda: _zip("question.csv", "question_id,content", _numbered("cmedqa24 question", QUERIES)),
        "answer.zip": lambda: _zip("answer.csv", "ans_id,question_id,content", _answers()),
        "train_candidates.zip": lambda: _zip(
            "train_candidates.txt", "question_id,pos_ans_id,neg_ans_id",
            ((q, 2 * q, (2 * q + 1) % (2 * QUERIES)) for q in range(QUERIES)),
        ),
    },
}  # fmt: skip


def write_mini_data(folder: Path) -> dict[str, Path | dict[str, bytes]]:
    """Return all data sets of the hub by id: the 15 benchmarks, and the training sources beside or among them."""
    found: dict[str, Any] = {BENCHMARKS[name].hub_id: path for name, path in write_mini_benchmarks(folder).items()}
    for name in ("BQ", "LCQMC", "PAWSX", "STSB", "AFQMC", "ATEC"):
        spec, place = BENCHMARKS[name], folder / "C-MTEB" / name
        tested = place / "data" / f"{spec.split}-00000-of-00001.parquet"
        scored = (
            list(pd.read_parquet(tested)[["sentence1", "sentence2", "score"]].itertuples(index=False, name=None))
            if tested.exists()
            else _pairs(f"{name} test", DEV_PAIRS, spec.score_range[1])
        )
        splits = {"train": _pairs(f"{name} train", PAIRS, spec.score_range[1])}
        splits |= {"validation": _pairs(f"{name} dev", DEV_PAIRS, spec.score_range[1])} | {spec.split: scored}
        write_pairs_folder(place, spec, splits)
        for file in (place / "data").iterdir():
            file.rename(file.with_name(f"{file.stem}-{spec.revision[:16]}.parquet"))
        found[f"C-MTEB/{name}"] = place
    return found | {name: made(files) for name, files in MINI_HUB_SOURCES.items()}


def made(files: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the content of files by path."""
    return {
        "README.md": b"---\nlicense: apache-2.0\n---\nA miniature for tests.\n",
        **{p: f() for p, f in files.items()},
    }


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the content of files by path below a folder."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def _text(seed: str, length: int) -> str:
    return "".join(Random(seed).choices(CHINESE, k=length))


def _numbered(name: str, count: int, length: int = 12) -> Iterator[tuple[int, str]]:
    return ((number, _text(f"{name} {number}", length)) for number in range(count))


def _documents(name: str) -> list[str]:
    return [f"{number}\t{text}" for number, text in _numbered(f"{name} document", 2 * QUERIES, 30)]


def _questions(name: str) -> list[str]:
    return [f"{number}\t{text}" for number, text in _numbered(f"{name} question", QUERIES)]


def _grades() -> Iterator[str]:
    for query in range(QUERIES):
        yield f"{query}\t0\t{2 * query}\t{2 + query % 2}"
        yield f"{query}\t0\t{2 * query + 1}\t{query % 2}"


def _dureader() -> Iterator[dict[str, Any]]:
    texts = dict(_numbered("dureader document", 2 * QUERIES, 30))
    for number, question in _numbered("dureader question", QUERIES):
        right, wrong = ({"docid": str(place), "text": texts[place]} for place in (2 * number, 2 * number + 1))
        yield {"query_id": str(number), "query": question, "positive_passages": [right], "negative_passages": [wrong]}


def _scored(part: int) -> bytes:
    """Negatives with scores of a reranker; the second of each scores above the positive, and so may be none."""
    rows = [
        {
            "qid": q,
            "pos": [2 * q],
            "neg": [2 * q + 1, (2 * q + 2) % (2 * QUERIES)],
            "pos.score": [0.9],
            "neg.score": [0.1, 0.95],
        }
        for q in range(part, QUERIES, 2)
    ]
    return _parquet(pd.DataFrame(rows))


def _answers() -> Iterator[tuple[int, int, str]]:
    return ((place, place // 2, text) for place, text in _numbered("cmedqa2 answer", 2 * QUERIES, 30))


def _pairs(name: str, count: int, high: int) -> list[tuple[str, str, int]]:
    """Return pairs that share as much as their score says, from 0 to ``high``."""
    rows = []
    for number, text in _numbered(name, count, 16):
        score, other = number % (high + 1), _text(f"{name} other {number}", 16)
        kept = 16 * score // high
        rows.append((text, text[:kept] + other[kept:], score))
    return rows


def _entailed(name: str, split: str) -> bytes:
    """0 neutral, 1 entailment, 2 contradiction, as int64; -1 where annotators did not agree."""
    count = PAIRS if split == "train" else DEV_PAIRS
    rows = [(a, b, number % 3, number) for number, (a, b, _) in enumerate(_pairs(f"{name} {split}", count, 2))]
    rows[-1] = (*rows[-1][:2], -1, rows[-1][3])
    return _parquet(pd.DataFrame(rows, columns=["sentence1", "sentence2", "label", "idx"]))


def _parquet(frame: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.to_parquet(file)
    return file.getvalue()


def _tsv(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _jsonl(rows: Iterable[Any]) -> bytes:
    return _tsv(json.dumps(row, ensure_ascii=False) for row in rows)


def _zip(name: str, header: str, rows: Iterable[tuple[Any, ...]]) -> bytes:
    table, archive = io.StringIO(), io.BytesIO()
    csv.writer(table).writerows([header.split(","), *rows])
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo(name), table.getvalue().encode("utf-8-sig"))
    return archive.getvalue()
