"""Miniature folders of the paper's 15 benchmarks in the schema of the hub's data sets: parquet, and a card that names
configs, columns and splits. The words are the tiny encoder's; every benchmark has texts of its own.

``write_mini_benchmarks`` writes all of them; the two writers below take any rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from codiemb_pipeline.benchmarks.registry import BENCHMARKS, BenchmarkSpec

NOUNS = ["dog", "cat", "bird", "fish", "river", "mountain", "house", "paper", "music", "query", "document"]
ADJECTIVES = ["red", "blue", "green", "old", "new", "small", "big"]
PLACES = ["of a river", "and the house", "of paper", "and music", "of the mountain"]
QUERIES, DOCUMENTS, PAIRS = 12, 40, 30
MINI_SIZES = {"retrieval": {"queries": QUERIES, "documents": DOCUMENTS}, "sts": {"pairs": PAIRS}}
SPLITS = {
    "ATEC": ("train", "validation", "test"),
    "BQ": ("train", "validation", "test"),
    "STSB": ("validation", "test"),
}

QueryRow = tuple[str, str]
DocumentRow = tuple[str, str, str]
QrelRow = tuple[str, str, int]
PairRow = tuple[str, str, int]


def write_mini_benchmarks(folder: Path, names: Sequence[str] = tuple(BENCHMARKS)) -> dict[str, Path]:
    """Write ``<folder>/<hub id>`` for every benchmark of ``names`` and return the folders by name.

    Retrieval: 12 judged queries and one without a judgement, 40 documents, 18 judgements. Similarity: 30 pairs in each
    split; where there are other splits, their scores are turned round, so that reading one shows.
    """
    found: dict[str, Path] = {}
    for name in names:
        spec, place = BENCHMARKS[name], list(BENCHMARKS).index(name)
        found[name] = folder / spec.hub_id
        if spec.type == "retrieval":
            write_retrieval_folder(found[name], spec, *mini_retrieval(place))
        else:
            high = spec.score_range[1]
            pairs = mini_pairs(place, high)
            turned = [(first, second, high - score) for first, second, score in pairs]
            splits = SPLITS.get(name, (spec.split,))
            write_pairs_folder(found[name], spec, {s: pairs if s == spec.split else turned for s in splits})
    return found


def mini_retrieval(place: int) -> tuple[list[QueryRow], list[DocumentRow], list[QrelRow]]:
    """Return queries, documents and judgements of the benchmark at ``place`` in the registry."""
    letter = "abcdefghijklmno"[place]
    phrases = [(adjective, noun) for noun in NOUNS for adjective in ADJECTIVES]
    corpus = [
        (f"d{number}", "the " + noun if number % 5 == 0 else "", f"{adjective} {noun} {PLACES[number % 5]} {letter}")
        for number, (adjective, noun) in enumerate(phrases[place : place + DOCUMENTS])
    ]
    queries = [(f"q{number}", " ".join([*phrases[place + 3 * number], letter])) for number in range(QUERIES + 1)]
    qrels = [(f"q{number}", f"d{3 * number}", 1) for number in range(QUERIES)]
    qrels += [(f"q{number}", f"d{3 * number + 1}", 1) for number in range(0, QUERIES, 2)]
    return queries, corpus, qrels


def mini_pairs(place: int, high: int) -> list[PairRow]:
    """Return scored pairs, from 0 to ``high``, of the benchmark at ``place`` in the registry."""
    letter = "abcdefghijklmno"[place]
    rows = []
    for number in range(PAIRS):
        noun, adjective = NOUNS[number % 11], ADJECTIVES[number % 7]
        other = NOUNS[(number + number % 3) % 11]
        score = high if number % 3 == 0 else 0 if number % 3 == 2 else high // 2
        rows.append((f"{adjective} {noun} {letter}", f"{adjective} {other} {PLACES[number % 5]} {letter}", score))
    return rows


def write_retrieval_folder(
    folder: Path,
    spec: BenchmarkSpec,
    queries: Sequence[QueryRow],
    corpus: Sequence[DocumentRow],
    qrels: Sequence[QrelRow],
) -> Path:
    """Write a retrieval data set: configs ``corpus``, ``queries`` and ``default`` with the benchmark's split."""
    tables = {
        "corpus": ("corpus", {"_id": "string", "title": "string", "text": "string"}, corpus),
        "queries": ("queries", {"_id": "string", "text": "string"}, queries),
        "default": ("data", {"query-id": "string", "corpus-id": "string", "score": "int64"}, qrels),
    }
    configs, infos = [], []
    for config, (inside, columns, rows) in tables.items():
        size = _write_parquet(folder / inside / f"{spec.split}-00000-of-00001.parquet", columns, rows)
        files = [{"split": spec.split, "path": f"{inside}/{spec.split}-*"}]
        configs.append({"config_name": config, "data_files": files})
        infos.append({"config_name": config, **_info(columns, {spec.split: size})})
    return _write_card(folder, {"configs": configs, "dataset_info": infos})


def write_pairs_folder(folder: Path, spec: BenchmarkSpec, splits: Mapping[str, Sequence[PairRow]]) -> Path:
    """Write a similarity data set; AFQMC's scores are class labels and its pairs numbered, as on the hub."""
    columns: dict[str, Any] = {"sentence1": "string", "sentence2": "string", "score": "int32"}
    if spec.name == "AFQMC":
        columns |= {"score": {"class_label": {"names": {"0": "0", "1": "1"}}}, "idx": "int32"}
    sizes: dict[str, dict[str, int]] = {}
    for split, pairs in splits.items():
        rows = [(*pair, number) for number, pair in enumerate(pairs)] if "idx" in columns else pairs
        sizes[split] = _write_parquet(folder / "data" / f"{split}-00000-of-00001.parquet", columns, rows)
    files = [{"split": split, "path": f"data/{split}-*"} for split in splits]
    info = _info(columns, sizes)
    return _write_card(folder, {"configs": [{"config_name": "default", "data_files": files}], "dataset_info": info})


def _info(columns: Mapping[str, Any], sizes: Mapping[str, dict[str, int]]) -> dict[str, Any]:
    features = [{"name": name, "dtype": kind} for name, kind in columns.items()]
    total = sum(size["num_bytes"] for size in sizes.values())
    splits = [{"name": split, **size} for split, size in sizes.items()]
    return {"features": features, "splits": splits, "download_size": total, "dataset_size": total}


def _write_parquet(file: Path, columns: Mapping[str, Any], rows: Sequence[tuple[Any, ...]]) -> dict[str, int]:
    types = {"string": pa.string(), "int32": pa.int32(), "int64": pa.int64()}
    fields = [(name, types[kind] if isinstance(kind, str) else pa.int64()) for name, kind in columns.items()]
    arrays = [pa.array([row[place] for row in rows], kind) for place, (_, kind) in enumerate(fields)]
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(arrays, schema=pa.schema(fields))
    pq.write_table(table, file)
    return {"num_bytes": table.nbytes, "num_examples": len(rows)}


def _write_card(folder: Path, head: Mapping[str, Any]) -> Path:
    text = f"---\n{yaml.safe_dump(dict(head), sort_keys=False)}---\n\nA miniature for tests.\n"
    (folder / "README.md").write_text(text, encoding="utf-8")
    return folder


def keep_prepared_copies_in(folder: Path, monkeypatch: Any) -> Path:
    """Let ``datasets`` prepare its copies below ``folder`` instead of the home folder."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    return folder


def block_sockets(monkeypatch: Any) -> None:
    """Make every look-up and connection an error."""
    import socket

    def refuse(*arguments: Any, **_: Any) -> Any:
        raise AssertionError(f"a socket was used: {arguments[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
