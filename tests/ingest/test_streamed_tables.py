"""Streaming changes no row: against naive code in memory."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from source_files import SHARES, beir_source, counts, flag_source, ingest, pairs_source, table, write_beir, write_lines

from codiemb_pipeline.artifacts import ingest as source_tables
from codiemb_pipeline.artifacts.ingest import PAIR_SCHEMA, TableWriter, keep_rows, read_pairs, read_retrieval
from codiemb_pipeline.ingest import hashing
from codiemb_pipeline.ingest.validation import RejectLog
from codiemb_pipeline.params.ingest import SplitShares
from codiemb_pipeline.schema import SPLITS
from codiemb_pipeline.texts import pair_key, text_key


def many_pairs() -> list[dict[str, Any]]:
    """500 rows with repeats in other spelling and order."""
    draw = np.random.default_rng(3).integers(0, 200, (500, 2))
    pairs = [(f"Left  {a}" if b % 2 else f"left {a}", f"right {a}") for a, b in draw]
    return [{"left": pair[n % 3 == 0], "right": pair[n % 3 != 0], "gold": n % 6} for n, pair in enumerate(pairs)]


def test_pairs_equal_those_of_naive_code_in_memory(tmp_path):
    rows, shares = many_pairs(), SplitShares(**SHARES)
    golds: dict[tuple, list[float]] = {}
    first = {}
    for number, row in enumerate(rows, start=1):
        key = pair_key(row["left"], row["right"])
        golds.setdefault(key, []).append(row["gold"] / 5)
        first.setdefault(key, (f"{number}", row["left"], row["right"]))
    expected = []
    for key, own in first.items():
        split = hashing.splits_of(hashing.hashes_of([key], 7, "mine"), shares)[0]
        gold = golds[key][0] if len(set(golds[key])) == 1 else sum(golds[key]) / len(golds[key])
        expected.append((*own, pytest.approx(gold, abs=1e-15), split))
    source = pairs_source(write_lines(tmp_path / "pairs.jsonl", rows), splits=SHARES)
    out = ingest(tmp_path / "out", source)
    assert table(out, "pairs") == expected
    differing = sum(len(found) - 1 for found in golds.values() if len(set(found)) > 1)
    again = sum(len(found) - 1 for found in golds.values()) - differing
    assert counts(out)["filtered"] == {
        "pairs repeated with another score, averaged": differing,
        "pairs that repeat": again,
    }


def beir_of_many() -> tuple[list, list, dict]:
    """60 documents; 40 queries of 25 texts; judgements with repeats in three splits."""
    draw = np.random.default_rng(5)
    corpus = [{"_id": f"d{n}", "title": f"t{n}" * (n % 2), "text": f"document {n}"} for n in range(60)]
    queries = [{"_id": f"q{n}", "text": (f"Query {n % 25}", f"query  {n % 25}")[n // 25]} for n in range(40)]
    qrels: dict[str, list] = {"train": [], "dev": [], "test": []}
    for _ in range(200):
        query, split = int(draw.integers(40)), ("train", "train", "dev", "test")[draw.integers(4)]
        qrels[split].append((f"q{query}", f"d{draw.integers(60)}", int(draw.integers(0, 3))))
    return corpus, queries, qrels


def naive_beir(corpus: list, queries: list, qrels: dict) -> dict[str, list[tuple]]:
    """The rules one by one: last split, merge equal texts of a split, highest judgement, later split wins."""
    texts = {query["_id"]: query["text"] for query in queries}
    split_of_query = dict.fromkeys(texts, "train")
    judged = []
    for split in ("train", "dev", "test"):
        for query_id, doc_id, relevance in qrels[split]:
            if relevance > 0:
                split_of_query[query_id] = split
                judged.append((query_id, doc_id, relevance))
    stands: dict[tuple, str] = {}
    alias = {query: stands.setdefault((text_key(texts[query]), split_of_query[query]), query) for query in texts}
    first: dict[tuple[str, str], int] = {}
    for query_id, doc_id, relevance in judged:
        pair = (alias[query_id], doc_id)
        first[pair] = max(relevance, first.get(pair, 0))
    with_documents = {query_id for query_id, _ in first}
    order = ["train", "dev", "test"]
    kept = [query for query in texts if alias[query] == query and query in with_documents]
    latest: dict[str, int] = {}
    for query in kept:
        key = text_key(texts[query])
        latest[key] = max(latest.get(key, 0), order.index(split_of_query[query]))
    kept = [query for query in kept if order.index(split_of_query[query]) == latest[text_key(texts[query])]]
    return {
        "queries": [(query, texts[query], split_of_query[query]) for query in kept],
        "corpus": [(document["_id"], document["title"], document["text"]) for document in corpus],
        "qrels": [(query, document, relevance) for (query, document), relevance in first.items() if query in kept],
    }


@pytest.mark.parametrize("group_rows", [1, 7, 50_000])
def test_retrieval_equals_naive_code_in_memory_whatever_the_row_groups(tmp_path, monkeypatch, group_rows):
    monkeypatch.setattr(source_tables, "GROUP_ROWS", group_rows)
    corpus, queries, qrels = beir_of_many()
    out = ingest(tmp_path / "out", beir_source(write_beir(tmp_path / "beir", corpus, queries, qrels)))
    expected = naive_beir(corpus, queries, qrels)
    assert {which: table(out, which) for which in expected} == expected
    assert {split for _, _, split in expected["queries"]} == {"train", "dev", "test"}


@pytest.mark.parametrize("limits", [{"GROUP_ROWS": 3}, {"GROUP_CHARACTERS": 40}])
def test_row_groups_end_at_rows_or_characters_and_change_no_row(tmp_path, monkeypatch, limits):
    path = write_lines(tmp_path / "pairs.jsonl", many_pairs())
    whole = table(ingest(tmp_path / "whole", pairs_source(path)), "pairs")
    for name, value in limits.items():
        monkeypatch.setattr(source_tables, name, value)
    parts = ingest(tmp_path / "parts", pairs_source(path))
    assert table(parts, "pairs") == whole
    assert pq.ParquetFile(parts / "mine/pairs.parquet").num_row_groups > 30


def test_keep_rows_leaves_those_rows_in_their_order_and_a_readable_file_when_none_stay(tmp_path):
    for name, keep in (("some", [True, False, False, True, True]), ("none", [False] * 5), ("all", [True] * 5)):
        path = tmp_path / f"{name}.parquet"
        with TableWriter(path, PAIR_SCHEMA) as writer:
            rows = [(str(number), "a", "b", 0.5, "train") for number in range(5)]
            writer.write(pl.DataFrame(rows, schema=PAIR_SCHEMA.names, orient="row"))
        keep_rows(path, np.array(keep))
        found = pd.read_parquet(path)
        assert found["pair_id"].tolist() == [str(number) for number in range(5) if keep[number]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.parquet", "none.parquet", "some.parquet"]


@pytest.mark.parametrize("parts", [1, 3, 16])
@pytest.mark.parametrize("rows", [0, 1, 2, 7, 300])
def test_rows_are_kept_apart_by_digest_as_by_key(monkeypatch, rows, parts):
    monkeypatch.setattr(hashing, "PARTS", parts)
    monkeypatch.setattr(hashing, "SLICE_ROWS", 100)
    draw = np.random.default_rng(rows)
    keys, numbers = draw.integers(0, max(rows // 2, 1), rows), draw.integers(0, 3, rows).astype(np.int8)
    of_rows = pl.Series([SPLITS[n] for n in numbers], dtype=hashing.SPLIT_TYPE)
    found, leaked, repeats = hashing.rows_apart(hashing.hashes_of(keys), of_rows)
    latest = {key: max(n for other, n in zip(keys, numbers, strict=True) if other == key) for key in keys}
    expected, seen = [], set()
    for row, (key, number) in enumerate(zip(keys, numbers, strict=True)):
        if number == latest[key] and key not in seen:
            expected.append(row)
            seen.add(key)
    assert np.flatnonzero(found).tolist() == expected
    assert leaked == sum(number < latest[key] for key, number in zip(keys, numbers, strict=True))
    first = {keys[row]: row for row in expected}
    again = [(row, first[key]) for row, key in enumerate(keys) if numbers[row] == latest[key] and row != first[key]]
    assert sorted(repeats.rows()) == again


def test_two_runs_write_the_same_bytes_and_the_readers_of_later_stages_read_them(tmp_path):
    corpus, queries, qrels = beir_of_many()
    folder = write_beir(tmp_path / "beir", corpus, queries, qrels)
    path = write_lines(tmp_path / "pairs.jsonl", many_pairs())
    outs = []
    for name in ("one", "two"):
        outs.append(ingest(tmp_path / name, beir_source(folder), name="search"))
        ingest(tmp_path / name, pairs_source(path), name="pairs")
    for file in sorted(outs[0].rglob("*.parquet")):
        assert file.read_bytes() == (outs[1] / file.relative_to(outs[0])).read_bytes()
    tables = read_retrieval(outs[0], "search")
    assert list(tables.document_texts())[1] == "t1 document 1"
    assert tables.corpus["text"].dtype == tables.queries["text"].dtype == "str"
    assert read_pairs(outs[0], "pairs").pairs["gold"].dtype == np.float64


def test_an_interrupted_run_leaves_what_was_whole_and_nothing_half_written(tmp_path, monkeypatch):
    path = write_lines(tmp_path / "f.jsonl", [{"query": f"query {n}", "pos": [f"document {n}"]} for n in range(50)])
    out = ingest(tmp_path / "out", flag_source(path))
    before = table(out, "corpus")
    monkeypatch.setattr(source_tables, "GROUP_ROWS", 5)
    written = 0

    def interrupt(self: TableWriter, group: pl.DataFrame, write: Any = TableWriter._write) -> None:
        nonlocal written
        written += 1
        if written > 2:
            raise KeyboardInterrupt
        write(self, group)

    monkeypatch.setattr(TableWriter, "_write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ingest(out, flag_source(path))
    assert sorted(entry.name for entry in out.iterdir()) == ["counts.json", "mine", "rejects.jsonl"]
    assert table(out, "corpus") == before


def test_a_partial_folder_of_a_killed_run_is_replaced(tmp_path):
    left = tmp_path / "out/.mine.partial"
    left.mkdir(parents=True)
    (left / "corpus.parquet").write_text("half")
    out = ingest(tmp_path / "out", flag_source(write_lines(tmp_path / "f.jsonl", [{"query": "a", "pos": ["b"]}])))
    assert not left.exists()
    assert [row[2] for row in table(out, "corpus")] == ["b"]


def test_of_endless_bad_rows_some_are_kept_and_all_are_counted(monkeypatch):
    monkeypatch.setattr("codiemb_pipeline.ingest.validation.KEPT_REJECTS", 3)
    log = RejectLog("mine", rows=10)
    log.reject("file", [(number, "field", "reason") for number in range(5)])
    assert (len(log.rejects), log.rejected) == (3, 5)
    log.check(0.5)
    with pytest.raises(ValueError, match="5 of 10 rows are bad"):
        log.check(0.4)
