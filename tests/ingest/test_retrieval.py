"""Readers of retrieval sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from source_files import (
    ALL_TRAIN,
    QRELS,
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


def test_a_beir_folder_keeps_ids_grades_and_its_own_splits(tmp_path: Path) -> None:
    out = ingest(tmp_path / "out", beir_source(write_beir(tmp_path / "beir")))
    assert table(out, "queries") == [("q1", "what lifts a wing", "train"), ("q2", "what is drag", "test")]
    assert table(out, "corpus")[0] == ("d1", "Wings", "lift of a wing")
    assert table(out, "corpus")[2] == ("d3", "Only a title", "")
    assert table(out, "qrels") == [("q1", "d1", 2), ("q1", "d3", 1), ("q2", "d2", 1)]
    assert table(out, "negatives") == []


def test_judgements_of_no_relevance_and_repeated_ones_are_counted_and_not_kept(tmp_path: Path) -> None:
    qrels = QRELS | {"test": [("q2", "d2", 1), ("q2", "d1", 0), ("q2", "d3", -1), ("q2", "d2", 3)]}
    out = ingest(tmp_path / "out", beir_source(write_beir(tmp_path / "beir", qrels=qrels)))
    assert [row for row in table(out, "qrels") if row[0] == "q2"] == [("q2", "d2", 1)]
    assert counts(out)["filtered"] == {"judgements of no relevance": 2, "judgements that repeat": 1}


def test_a_query_without_a_relevant_document_is_left_out_and_counted(tmp_path: Path) -> None:
    queries = [{"_id": "q1", "text": "what lifts a wing"}, {"_id": "q2", "text": "x"}, {"_id": "q3", "text": "y"}]
    out = ingest(tmp_path / "out", beir_source(write_beir(tmp_path / "beir", queries=queries)))
    assert [row[0] for row in table(out, "queries")] == ["q1", "q2"]
    assert counts(out)["filtered"] == {"queries without a relevant document": 1}


def test_a_query_of_a_later_split_leaves_the_earlier_one(tmp_path: Path) -> None:
    queries = [{"_id": "q1", "text": "What is drag?"}, {"_id": "q2", "text": "what is drag"}]
    out = ingest(tmp_path / "out", beir_source(write_beir(tmp_path / "beir", queries=queries)))
    assert table(out, "queries") == [("q2", "what is drag", "test")]
    assert {row[0] for row in table(out, "qrels")} == {"q2"}
    assert counts(out)["filtered"] == {"queries in a later split too": 1}


def test_whole_numbers_are_ids_too(tmp_path: Path) -> None:
    corpus, queries = [{"_id": 1, "text": "a"}], [{"_id": 7, "text": "b"}]
    out = ingest(tmp_path / "out", beir_source(write_beir(tmp_path / "b", corpus, queries, {"train": [(7, 1, 1)]})))
    assert table(out, "qrels") == [("7", "1", 1)]


@pytest.mark.parametrize("score", ["1.5", "1e300"])
def test_a_relevance_that_is_no_grade_is_a_bad_row(tmp_path: Path, score: str) -> None:
    folder = write_beir(tmp_path / "beir", qrels=QRELS | {"test": [("q2", "d2", 1), ("q2", "d1", score)]})
    out = ingest(tmp_path / "out", beir_source(folder), tolerance=0.5)
    assert [(entry["row"], entry["field"]) for entry in rejects(out)] == [(3, "score")]


def test_a_folder_without_qrels_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"qrels: expected train\.tsv, dev\.tsv or test\.tsv, found none"):
        ingest(tmp_path / "out", beir_source(write_beir(tmp_path / "beir", qrels={})))


def test_flag_embedding_rows_become_documents_once_per_text(tmp_path: Path) -> None:
    rows = [{"query": "a", "pos": ["p", "shared"], "neg": ["n"]}, {"query": "b", "pos": ["shared"]}]
    out = ingest(tmp_path / "out", flag_source(write_lines(tmp_path / "f.jsonl", rows)))
    assert [row[2] for row in table(out, "corpus")] == ["p", "shared", "n"]
    assert table(out, "qrels") == [("q1", "d0", 1), ("q1", "d1", 1), ("q2", "d1", 1)]
    assert table(out, "negatives") == [("q1", "d2")]


def test_a_repeated_query_gives_its_documents_to_the_first(tmp_path: Path) -> None:
    """Dropping row 2 alone would leave "other" unjudged, and mining would take it for a negative of row 1."""
    rows = [{"query": "a query", "pos": ["one"], "neg": ["other", "far"]}, {"query": "A query!", "pos": ["other"]}]
    out = ingest(tmp_path / "out", flag_source(write_lines(tmp_path / "f.jsonl", rows)))
    texts = {doc_id: text for doc_id, _, text in table(out, "corpus")}
    assert table(out, "queries") == [("q1", "a query", "train")]
    assert [(query_id, texts[doc_id]) for query_id, doc_id, _ in table(out, "qrels")] == [
        ("q1", "one"),
        ("q1", "other"),
    ]
    assert [(query_id, texts[doc_id]) for query_id, doc_id in table(out, "negatives")] == [("q1", "far")]
    assert counts(out)["filtered"] == {"negatives that are relevant": 1, "queries that repeat": 1}


def semanlink_source(folder: Path, documents: Any, tags: Any, **changes: Any) -> dict[str, Any]:
    folder.mkdir()
    (folder / "docs.json").write_text(json.dumps(documents))
    (folder / "tags.json").write_text(json.dumps(tags))
    return {"task": "ir", "reader": "semanlink", "path": str(folder), "splits": ALL_TRAIN} | changes


TAGS = {"s/tag/rdf": {"prefLabel": ["RDF"]}, "s/tag/sw": {"prefLabel": ["Semantic Web", "Web sémantique"]}}


def test_semanlink_merges_documents_of_one_title_and_asks_by_the_first_label(tmp_path: Path) -> None:
    documents = [
        {"title": "Linked Data", "tag": ["s/tag/sw"]},
        {"title": "linked  data!", "tag": ["s/tag/rdf"]},
        {"title": " ", "tag": ["s/tag/rdf"]},
        {"title": "Graphs", "tag": ["s/tag/rdf"], "comment": "not read"},
    ]
    out = ingest(tmp_path / "out", semanlink_source(tmp_path / "s", documents, TAGS))
    assert table(out, "corpus") == [("d1", "Linked Data", ""), ("d4", "Graphs", "")]
    assert table(out, "queries") == [("rdf", "RDF", "train"), ("sw", "Semantic Web", "train")]
    assert table(out, "qrels") == [("rdf", "d1", 1), ("rdf", "d4", 1), ("sw", "d1", 1)]
    assert counts(out)["filtered"] == {"documents whose title repeats": 1, "documents without a title": 1}


def test_queries_of_too_few_or_too_many_documents_are_left_out_and_counted(tmp_path: Path) -> None:
    documents = [{"title": f"t{n}", "tag": ["s/tag/rdf"] + ["s/tag/sw"] * (n == 0)} for n in range(3)]
    source = semanlink_source(tmp_path / "s", documents, TAGS, documents_per_query=[2, 3])
    out = ingest(tmp_path / "out", source)
    assert [row[0] for row in table(out, "queries")] == ["rdf"]
    assert counts(out)["filtered"] == {"queries with relevant documents outside 2 to 3": 1}
    assert {row[0] for row in table(out, "qrels")} == {"rdf"}


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ("text", "(entry)"),
        ({"title": ["a"], "tag": []}, "title"),
        ({"title": "a", "tag": "s/tag/rdf"}, "tag"),
        ({"title": "a", "tag": ["s/tag/none"]}, "tag"),
    ],
)
def test_a_bad_entry_of_semanlink_is_set_aside_once(tmp_path: Path, document: Any, field: str) -> None:
    good = {"title": "Graphs", "tag": ["s/tag/rdf"]}
    out = ingest(tmp_path / "out", semanlink_source(tmp_path / "s", [good, document], TAGS), tolerance=0.5)
    assert [(entry["row"], entry["field"]) for entry in rejects(out)] == [(2, field)]
    assert [row[1] for row in table(out, "corpus")] == ["Graphs"]


def test_a_broken_json_document_is_an_error_that_names_line_and_column(tmp_path: Path) -> None:
    source = semanlink_source(tmp_path / "s", [], TAGS)
    (tmp_path / "s/docs.json").write_text('[\n  {"title": }\n]')
    with pytest.raises(InputError, match=r"docs\.json: line 2, column 13: not JSON"):
        ingest(tmp_path / "out", source)
