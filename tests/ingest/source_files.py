"""Small sources on disk, written the way a user would, and the stage run on them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

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


def counts(out: Path, name: str = "mine") -> dict[str, Any]:
    return json.loads((out / "counts.json").read_text(encoding="utf-8"))["sources"][name]


def rejects(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]
