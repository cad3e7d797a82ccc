"""Retrieval sources by hand: BEIR folders, FlagEmbedding's jsonl, Semanlink."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from source_files import (
    CORPUS,
    QRELS,
    QUERIES,
    beir_source,
    counts,
    flag_source,
    ingest,
    rejects,
    table,
    write_beir,
    write_lines,
)

from codiemb_pipeline.errors import InputError


def test_a_beir_folder_gives_its_queries_documents_and_judgements(tmp_path: Path) -> None:
    out = ingest(tmp_path / "out", beir_source(write_beir(tmp_path / "beir")))
    assert table(out, "queries") == [("q1", "what lifts a wing", "train"), ("q2", "what is drag", "test")]
    assert table(out, "corpus") == [
        ("d1", "Wings", "lift of a wing"),
        ("d2", "", "drag of a body"),
        ("d3", "Only a title", ""),
    ]
    assert table(out, "qrels") == [("q1", "d1", 2), ("q1", "d3", 1), ("q2", "d2", 1)]
    assert table(out, "negatives") == []
    assert counts(out) == {
        "task": "ir",
        "rows": 8,
        "rejected": 0,
        "left_out": {},
        "splits": {"train": 1, "dev": 0, "test": 1},
        "documents": 3,
        "judgements": 3,
    }
    assert rejects(out) == []


def test_whole_numbers_are_taken_as_ids(tmp_path: Path) -> None:
    folder = write_beir(
        tmp_path / "beir",
        corpus=[{"_id": 4, "text": "a document"}],
        queries=[{"_id": 12, "text": "a query"}],
        qrels={"dev": [(12, 4, 1)]},
    )
    out = ingest(tmp_path / "out", beir_source(folder))
    assert table(out, "queries") == [("12", "a query", "dev")]
    assert table(out, "qrels") == [("12", "4", 1)]


def test_judgements_of_no_relevance_and_repeats_are_left_out_and_counted(tmp_path: Path) -> None:
    qrels = QRELS | {"train": [("q1", "d1", 2), ("q1", "d1", 1), ("q1", "d2", 0), ("q1", "d3", -1)]}
    out = ingest(tmp_path / "out", beir_source(write_beir(tmp_path / "beir", qrels=qrels)))
    assert table(out, "qrels") == [("q1", "d1", 2), ("q2", "d2", 1)]
    assert counts(out)["left_out"] == {"judgements of no relevance": 2, "judgements that repeat": 1}


def test_a_query_without_a_relevant_document_is_left_out_and_counted(tmp_path: Path) -> None:
    queries = [*QUERIES, {"_id": "q3", "text": "who asked this"}]
    out = ingest(tmp_path / "out", beir_source(write_beir(tmp_path / "beir", queries=queries)))
    assert [row[0] for row in table(out, "queries")] == ["q1", "q2"]
    assert counts(out)["left_out"] == {"queries without a relevant document": 1}


def test_queries_with_too_few_or_too_many_documents_are_left_out_with_their_judgements(tmp_path: Path) -> None:
    queries = [*QUERIES, {"_id": "q3", "text": "everything"}]
    qrels = {"train": [*QRELS["train"], *(("q3", document["_id"], 1) for document in CORPUS)], "test": QRELS["test"]}
    folder = write_beir(tmp_path / "beir", queries=queries, qrels=qrels)
    out = ingest(tmp_path / "out", beir_source(folder, documents_per_query=[2, 2]))
    assert [row[0] for row in table(out, "queries")] == ["q1"]
    assert table(out, "qrels") == [("q1", "d1", 2), ("q1", "d3", 1)]
    assert counts(out)["left_out"] == {"queries with relevant documents outside 2 to 2": 2}


def test_a_repeated_query_lends_its_documents_to_the_first(tmp_path: Path) -> None:
    queries = [*QUERIES, {"_id": "q3", "text": "What lifts a wing?"}]
    qrels = QRELS | {"train": [("q1", "d1", 1), ("q3", "d3", 1)]}
    out = ingest(tmp_path / "out", beir_source(write_beir(tmp_path / "beir", queries=queries, qrels=qrels)))
    assert [row[0] for row in table(out, "queries")] == ["q1", "q2"]
    assert table(out, "qrels") == [("q1", "d1", 1), ("q1", "d3", 1), ("q2", "d2", 1)]
    assert counts(out)["left_out"] == {"queries that repeat": 1}


@pytest.mark.parametrize("score", ["1.5", "1e300", "relevant", ""])
def test_a_relevance_that_is_no_usable_whole_number_is_named(tmp_path: Path, score: str) -> None:
    folder = write_beir(tmp_path / "beir", qrels={"train": [("q1", "d1", score)]})
    with pytest.raises(InputError, match=r"qrels/train\.tsv: row 2: score: expected a"):
        ingest(tmp_path / "out", beir_source(folder))


def test_a_beir_folder_without_qrels_is_an_error(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "beir", qrels={})
    with pytest.raises(InputError, match=r"beir/qrels: expected train\.tsv, dev\.tsv or test\.tsv, found none"):
        ingest(tmp_path / "out", beir_source(folder))


def test_a_beir_folder_without_a_corpus_is_an_error(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "beir")
    (folder / "corpus.jsonl").unlink()
    with pytest.raises(InputError, match=r"beir/corpus\.jsonl: expected a file, found none"):
        ingest(tmp_path / "out", beir_source(folder))


def test_flag_embedding_texts_become_documents_once_each(tmp_path: Path) -> None:
    rows = [
        {"query": " a ", "pos": ["one", "two"], "neg": ["three"]},
        {"query": "b", "pos": ["two"], "neg": None},
        {"query": "c", "pos": ["three"]},
    ]
    out = ingest(tmp_path / "out", flag_source(write_lines(tmp_path / "train.jsonl", rows)))
    assert table(out, "queries") == [("q1", "a", "train"), ("q2", "b", "train"), ("q3", "c", "train")]
    assert table(out, "corpus") == [("d0", "", "one"), ("d1", "", "two"), ("d2", "", "three")]
    assert table(out, "qrels") == [("q1", "d0", 1), ("q1", "d1", 1), ("q2", "d1", 1), ("q3", "d2", 1)]
    assert table(out, "negatives") == [("q1", "d2")]


def test_a_named_negative_that_is_relevant_in_another_row_of_the_query_is_left_out(tmp_path: Path) -> None:
    rows = [{"query": "a", "pos": ["one"], "neg": ["two", "three"]}, {"query": "A!", "pos": ["two"]}]
    out = ingest(tmp_path / "out", flag_source(write_lines(tmp_path / "train.jsonl", rows)))
    assert table(out, "qrels") == [("q1", "d0", 1), ("q1", "d1", 1)]
    assert table(out, "negatives") == [("q1", "d2")]
    assert counts(out)["left_out"] == {"negatives that are relevant": 1, "queries that repeat": 1}


def test_a_flag_embedding_row_without_a_positive_is_a_bad_row(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "train.jsonl", [{"query": "a", "pos": []}])
    with pytest.raises(InputError, match="row 1: pos: expected one text at least, found none"):
        ingest(tmp_path / "out", flag_source(path))


def write_semanlink(folder: Path, documents: list, tags: dict) -> dict:
    folder.mkdir()
    (folder / "docs.json").write_text(json.dumps(documents), encoding="utf-8")
    (folder / "tags.json").write_text(json.dumps(tags), encoding="utf-8")
    return {**beir_source(folder), "reader": "semanlink", "splits": {"train": 1, "dev": 0, "test": 0}}


def test_semanlink_tags_ask_for_the_documents_they_were_given_to(tmp_path: Path) -> None:
    tags = {"x/bert": {"prefLabel": ["BERT", "bert fr"]}, "x/nlp": {"prefLabel": ["NLP"]}}
    documents = [
        {"title": "First", "tag": ["x/bert", "x/nlp"]},
        {"title": "", "tag": ["x/nlp"]},
        {"title": "first!", "tag": ["x/nlp"]},
        {"title": "Second", "tag": ["x/nlp"], "comment": "says NLP"},
        {"title": "Third"},
    ]
    out = ingest(tmp_path / "out", write_semanlink(tmp_path / "semanlink", documents, tags))
    assert table(out, "queries") == [("bert", "BERT", "train"), ("nlp", "NLP", "train")]
    assert table(out, "corpus") == [("d1", "First", ""), ("d4", "Second", ""), ("d5", "Third", "")]
    assert table(out, "qrels") == [("bert", "d1", 1), ("nlp", "d1", 1), ("nlp", "d4", 1)]
    assert counts(out)["left_out"] == {"documents whose title repeats": 1, "documents without a title": 1}


def test_a_semanlink_document_with_an_unknown_tag_is_named(tmp_path: Path) -> None:
    source = write_semanlink(tmp_path / "semanlink", [{"title": "First", "tag": ["x/nlp"]}], {})
    with pytest.raises(InputError, match=r"docs\.json: row 1: tag: expected a tag of tags\.json, found 'x/nlp'"):
        ingest(tmp_path / "out", source)
