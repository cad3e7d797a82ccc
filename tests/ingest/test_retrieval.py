"""Readers of retrieval sources: users' files, and registered sources with the files and columns that are declared."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from source_files import (
    ALL_TRAIN,
    DUREADER,
    HALF,
    QRELS,
    READY_MADE,
    beir_source,
    counts,
    flag_source,
    ingest,
    rejects,
    run_registered,
    table,
    write_beir,
    write_cmedqa2,
    write_gzip,
    write_lines,
    write_mmarco,
    write_multi_cpr,
    write_t2ranking,
    write_zip,
)

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.texts import text_key


def test_a_beir_folder_keeps_ids_grades_and_its_own_splits(tmp_path):
    out = ingest(tmp_path / "out", beir_source(write_beir(tmp_path / "beir")))
    assert table(out, "queries") == [("q1", "what lifts a wing", "train"), ("q2", "what is drag", "test")]
    assert table(out, "corpus")[0] == ("d1", "Wings", "lift of a wing")
    assert table(out, "corpus")[2] == ("d3", "Only a title", "")
    assert table(out, "qrels") == [("q1", "d1", 2), ("q1", "d3", 1), ("q2", "d2", 1)]
    assert table(out, "negatives") == []


def test_judgements_of_no_relevance_and_repeated_ones_are_counted_and_not_kept(tmp_path):
    qrels = QRELS | {"test": [("q2", "d2", 1), ("q2", "d1", 0), ("q2", "d3", -1), ("q2", "d2", 3)]}
    out = ingest(tmp_path / "out", beir_source(write_beir(tmp_path / "beir", qrels=qrels)))
    assert [row for row in table(out, "qrels") if row[0] == "q2"] == [("q2", "d2", 3)]
    contradicting = {"judgements repeated with another relevance, the highest kept": 1}
    assert counts(out)["filtered"] == contradicting | {"judgements of no relevance": 2}


def test_a_query_without_a_relevant_document_is_left_out_and_counted(tmp_path):
    queries = [{"_id": "q1", "text": "what lifts a wing"}, {"_id": "q2", "text": "x"}, {"_id": "q3", "text": "y"}]
    out = ingest(tmp_path / "out", beir_source(write_beir(tmp_path / "beir", queries=queries)))
    assert [row[0] for row in table(out, "queries")] == ["q1", "q2"]
    assert counts(out)["filtered"] == {"queries without a relevant document": 1}


def test_a_query_of_a_later_split_leaves_the_earlier_one(tmp_path):
    queries = [{"_id": "q1", "text": "What  is drag"}, {"_id": "q2", "text": "what is drag"}]
    out = ingest(tmp_path / "out", beir_source(write_beir(tmp_path / "beir", queries=queries)))
    assert table(out, "queries") == [("q2", "what is drag", "test")]
    assert {row[0] for row in table(out, "qrels")} == {"q2"}
    assert counts(out)["filtered"] == {"queries in a later split too": 1}


def test_whole_numbers_are_ids_too(tmp_path):
    corpus, queries = [{"_id": 1, "text": "a"}], [{"_id": 7, "text": "b"}]
    out = ingest(tmp_path / "out", beir_source(write_beir(tmp_path / "b", corpus, queries, {"train": [(7, 1, 1)]})))
    assert table(out, "qrels") == [("7", "1", 1)]


@pytest.mark.parametrize("score", ["1.5", "1e300"])
def test_a_relevance_that_is_no_grade_is_a_bad_row(tmp_path, score):
    folder = write_beir(tmp_path / "beir", qrels=QRELS | {"test": [("q2", "d2", 1), ("q2", "d1", score)]})
    out = ingest(tmp_path / "out", beir_source(folder), tolerance=0.5)
    assert [(entry["row"], entry["field"]) for entry in rejects(out)] == [(3, "score")]


def test_a_folder_without_qrels_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"qrels: expected train\.tsv, dev\.tsv or test\.tsv, found none"):
        ingest(tmp_path / "out", beir_source(write_beir(tmp_path / "beir", qrels={})))


def test_flag_embedding_rows_become_documents_once_per_text(tmp_path):
    rows = [{"query": "a", "pos": ["p", "shared"], "neg": ["n"]}, {"query": "b", "pos": ["shared"]}]
    out = ingest(tmp_path / "out", flag_source(write_lines(tmp_path / "f.jsonl", rows)))
    assert [row[2] for row in table(out, "corpus")] == ["p", "shared", "n"]
    assert table(out, "qrels") == [("q1", "d0", 1), ("q1", "d1", 1), ("q2", "d1", 1)]
    assert table(out, "negatives") == [("q1", "d2")]


def test_a_repeated_query_gives_its_documents_to_the_first(tmp_path):
    """Dropping row 2 alone would leave "other" unjudged, and mining would take it for a negative of row 1."""
    rows = [{"query": "a query", "pos": ["one"], "neg": ["other", "far"]}, {"query": "A  query", "pos": ["other"]}]
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


def test_semanlink_merges_documents_of_one_title_and_asks_by_the_first_label(tmp_path):
    documents = [
        {"title": "Linked Data", "tag": ["s/tag/sw"]},
        {"title": "linked  Data", "tag": ["s/tag/rdf"]},
        {"title": " ", "tag": ["s/tag/rdf"]},
        {"title": "Graphs", "tag": ["s/tag/rdf"], "comment": "not read"},
    ]
    out = ingest(tmp_path / "out", semanlink_source(tmp_path / "s", documents, TAGS))
    assert table(out, "corpus") == [("d1", "Linked Data", ""), ("d4", "Graphs", "")]
    assert table(out, "queries") == [("rdf", "RDF", "train"), ("sw", "Semantic Web", "train")]
    assert table(out, "qrels") == [("rdf", "d1", 1), ("rdf", "d4", 1), ("sw", "d1", 1)]
    assert counts(out)["filtered"] == {"documents whose title repeats": 1, "documents without a title": 1}


def test_queries_of_too_few_or_too_many_documents_are_left_out_and_counted(tmp_path):
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
def test_a_bad_entry_of_semanlink_is_set_aside_once(tmp_path, document, field):
    good = {"title": "Graphs", "tag": ["s/tag/rdf"]}
    out = ingest(tmp_path / "out", semanlink_source(tmp_path / "s", [good, document], TAGS), tolerance=0.5)
    assert [(entry["row"], entry["field"]) for entry in rejects(out)] == [(2, field)]
    assert [row[1] for row in table(out, "corpus")] == ["Graphs"]


def test_a_broken_json_document_is_an_error_that_names_line_and_column(tmp_path):
    source = semanlink_source(tmp_path / "s", [], TAGS)
    (tmp_path / "s/docs.json").write_text('[\n  {"title": }\n]')
    with pytest.raises(InputError, match=r"docs\.json: line 2, column 13: not JSON"):
        ingest(tmp_path / "out", source)


def named(out: Path, which: str) -> list[tuple]:
    """Return qrels or negatives with the documents' texts in place of their ids."""
    texts = {doc_id: text for doc_id, _, text in table(out, "corpus")}
    return [(query_id, texts[doc_id], *rest) for query_id, doc_id, *rest in table(out, which)]


def test_t2ranking_takes_positives_from_its_retrieval_qrels_and_grades_from_the_others(tmp_path):
    out = run_registered(tmp_path, "t2ranking", write_t2ranking(tmp_path / "t2"))
    assert table(out, "corpus")[0] == ("1", "", "first passage")
    assert table(out, "queries") == [("1", "one question", "train"), ("2", "another question", "train")]
    assert table(out, "qrels") == [("1", "1", 3), ("1", "2", 2), ("2", "4", 2)]
    assert table(out, "negatives") == [("1", "4")]
    filtered = {"pairs with a grade, but not called relevant": 1, "queries without a relevant document": 1}
    assert counts(out)["filtered"] == filtered
    assert (counts(out)["documents"], counts(out)["judgements"], counts(out)["task"]) == (4, 3, "ir")


def test_a_relevant_pair_without_a_grade_counts_as_one(tmp_path):
    folder = write_t2ranking(tmp_path / "t2", qrels_train=["qid\t-\tpid\trel", "1\t0\t1\t3", "2\t0\t4\t0"])
    out = run_registered(tmp_path, "t2ranking", folder)
    assert table(out, "qrels") == [("1", "1", 3), ("1", "2", 1), ("2", "4", 1)]
    assert table(out, "negatives") == []
    assert counts(out)["filtered"]["negatives that are relevant"] == 1


def test_the_files_are_found_where_the_hub_has_them_too(tmp_path):
    write_t2ranking(tmp_path / "t2" / "data")
    assert counts(run_registered(tmp_path, "t2ranking", tmp_path / "t2"))["judgements"] == 3


RELEVANT, GRADED, CORPUS, QUERIES = (
    ("qrels.retrieval.train.tsv", "qid\tpid", "1\t1"),
    ("qrels.train.tsv", "qid\t-\tpid\trel", "1\t0\t1\t3"),
    ("collection.tsv", "pid\ttext", "1\ta", "2\tb", "4\tc"),
    ("queries.train.tsv", "qid\ttext", "1\ta", "2\tb"),
)


@pytest.mark.parametrize(
    ("sound", "bad", "field", "reason"),
    [
        (RELEVANT, "1\t99", "pid", "expected a known id, found '99', which collection.tsv lacks"),
        (RELEVANT, "9\t1", "qid", "expected a known id, found '9', which queries.train.tsv lacks"),
        (GRADED, "1\t0\t1\thigh", "rel", "expected a number, found 'high'"),
        (GRADED, "1\t0\t1\t1.5", "rel", "expected a whole number of at most 1000000, found 1.5"),
        (CORPUS, "1\td", "pid", "expected ids that differ, found '1' again"),
        (CORPUS, "5\t ", "text", "expected text, found an empty one"),
        (CORPUS, "5\ta\tb", "(row)", "expected 2 fields, found 3"),
        (QUERIES, "2\tc", "qid", "expected ids that differ, found '2' again"),
    ],
)
def test_a_bad_row_of_a_table_is_named(tmp_path, sound, bad, field, reason):
    folder = write_t2ranking(tmp_path / "t2")
    for file, *lines in (GRADED, sound):
        write_lines(folder / file, lines)
    write_lines(folder / sound[0], [*sound[1:], bad])
    (found,) = rejects(run_registered(tmp_path, "t2ranking", folder, tolerance=0.5))
    assert (found["file"], found["row"]) == (f"{folder}/{sound[0]}", len(sound))
    assert (found["field"], found["reason"]) == (field, reason)


def test_a_passage_that_is_not_utf8_is_named_and_the_others_are_kept(tmp_path):
    folder = write_t2ranking(tmp_path / "t2", qrels_train=["qid\t-\tpid\trel", "1\t0\t1\t3"])
    (folder / "collection.tsv").write_bytes(b"pid\ttext\n1\ta\n2\tb\n3\tcaf\xe9\n4\tc\n")
    out = run_registered(tmp_path, "t2ranking", folder, tolerance=0.5)
    assert [(entry["row"], entry["field"]) for entry in rejects(out)] == [(4, "text")]
    assert [row[0] for row in table(out, "corpus")] == ["1", "2", "4"]


def test_a_missing_column_and_a_missing_file_are_errors_that_say_what_is_expected(tmp_path):
    folder = write_t2ranking(tmp_path / "t2", collection=["pid\tpassage", "1\ta"])
    with pytest.raises(InputError, match=r"collection\.tsv: column 'text': missing"):
        run_registered(tmp_path, "t2ranking", folder)
    (folder / "collection.tsv").unlink()
    with pytest.raises(InputError, match=r"t2/collection\.tsv: expected a file, found none; looked for .*pid, text"):
        run_registered(tmp_path, "t2ranking", folder)


def test_multi_cpr_names_no_columns_and_its_parts_are_one_file(tmp_path):
    """The cut lies inside the second character of the second passage."""
    whole = "10\t苹果手机壳\n20\t红茶\n30\t碎花连衣裙\n".encode()
    cut = whole.index("茶".encode()) + 1
    parts = {"corpus_split_1.tsv": whole[:cut], "corpus_split_2.tsv": whole[cut:]}
    out = run_registered(tmp_path, "multi_cpr_medical", write_multi_cpr(tmp_path / "m", parts))
    assert table(out, "corpus") == [("10", "", "苹果手机壳"), ("20", "", "红茶"), ("30", "", "碎花连衣裙")]
    assert table(out, "qrels") == [("1", "10", 1), ("2", "30", 1)]
    assert table(out, "queries")[0] == ("1", "手机壳", "train")


@pytest.mark.parametrize("domain", ["ecom", "video"])
def test_multi_cpr_of_one_corpus_file_is_found_in_a_clone(tmp_path, domain):
    write_multi_cpr(tmp_path / "clone/data" / domain, {"corpus.tsv": "10\t壳\n30\t裙\n".encode()})
    assert counts(run_registered(tmp_path, f"multi_cpr_{domain}", tmp_path / "clone"))["documents"] == 2


def test_cmedqa2_reads_its_zips_and_counts_no_repeats_of_its_triples(tmp_path):
    out = run_registered(tmp_path, "cmedqa2", write_cmedqa2(tmp_path / "c"))
    assert table(out, "queries") == [("7", "a pain, in the back", "train")]
    assert table(out, "qrels") == [("7", "1", 1), ("7", "2", 1)]
    assert table(out, "negatives") == [("7", "3"), ("7", "4")]
    assert counts(out)["filtered"] == {"queries without a relevant document": 1}


def test_a_zip_of_two_files_or_a_broken_one_is_an_error_that_names_it(tmp_path):
    folder = write_cmedqa2(tmp_path / "c")
    content = (folder / "answer.zip").read_bytes()
    (folder / "answer.zip").write_bytes(content[:60])
    with pytest.raises(InputError, match=r"answer\.zip: not readable"):
        run_registered(tmp_path, "cmedqa2", folder)
    write_zip(folder / "answer.zip", "a.csv", ["ans_id,content"])
    with zipfile.ZipFile(folder / "answer.zip", "a") as archive:
        archive.writestr("b.csv", "x")
    with pytest.raises(InputError, match=r"answer\.zip: expected one file in the zip, found 2"):
        run_registered(tmp_path, "cmedqa2", folder)


def test_mmarco_joins_texts_with_the_ids_in_lists(tmp_path):
    out = run_registered(tmp_path, "mmarco_zh", write_mmarco(tmp_path / "m"))
    assert named(out, "qrels") == [("11", "零", 1), ("12", "三", 1), ("12", "二", 1)]
    assert named(out, "negatives") == [("11", "一"), ("11", "二"), ("12", "零")]


def test_a_negative_of_mmarco_has_a_score_clearly_below_those_of_the_relevant_documents(tmp_path):
    """The margin is 0.4, below the lowest positive: 0.9 leaves 0.5 and less, 0.5 leaves 0.1 and less."""
    rows = [
        {"qid": 11, "pos": [0], "pos.score": [0.9], "neg": [1, 2, 3], "neg.score": [0.5, 0.51, 0.97]},
        {"qid": 12, "pos": [3, 2], "pos.score": [0.99, 0.5], "neg": [0, 1], "neg.score": [0.12, 0.0]},
    ]
    out = run_registered(tmp_path, "mmarco_zh", write_mmarco(tmp_path / "m", rows))
    assert named(out, "negatives") == [("11", "一"), ("12", "一")]
    assert len(table(out, "qrels")) == 3
    assert counts(out)["filtered"] == {"negatives whose score is near a relevant document's": 3}
    assert counts(out)["rejected"] == 0


def test_a_query_whose_relevant_document_has_a_low_score_keeps_no_negative(tmp_path):
    rows = [
        {"qid": 11, "pos": [0], "pos.score": [0.3], "neg": [1], "neg.score": [0.0]},
        {"qid": 12, "pos": [3], "neg": []},
    ]
    out = run_registered(tmp_path, "mmarco_zh", write_mmarco(tmp_path / "m", rows))
    assert named(out, "negatives") == []
    assert [row[0] for row in table(out, "queries")] == ["11", "12"]


@pytest.mark.parametrize(
    ("column", "scores", "found"),
    [
        ("neg.score", [0.1], "neg, found [0.1]"),
        ("neg.score", [0.1, 0.2, 0.3], "neg, found [0.1, 0.2, 0.3]"),
        ("neg.score", [0.1, float("inf")], "neg, found [0.1, inf]"),
        ("neg.score", [0.1, None], "neg, found [0.1, None]"),
        ("neg.score", None, "neg, found None"),
        ("pos.score", [], "pos, found []"),
    ],
)
def test_a_row_without_a_score_for_each_document_is_a_bad_row(tmp_path, column, scores, found):
    sound = {"qid": 12, "pos": [3], "neg": [1], "pos.score": [1.0], "neg.score": [0.0]}
    bad = {"qid": 11, "pos": [0], "neg": [1, 2], "pos.score": [1.0], "neg.score": [0.0, 0.0]} | {column: scores}
    folder = write_mmarco(tmp_path / "m")
    for part in (folder / "chinese_bge-reranker-v2-m3").iterdir():
        part.unlink()
    pd.DataFrame([sound, bad]).to_parquet(folder / "chinese_bge-reranker-v2-m3/train-00000-of-00001.parquet")
    out = run_registered(tmp_path, "mmarco_zh", folder, tolerance=0.5)
    number = {"neg.score": 2, "pos.score": 1}[column]
    expected = (2, column, f"expected a finite number for each of {number} in {found}")
    assert [(entry["row"], entry["field"], entry["reason"]) for entry in rejects(out)] == [expected]
    assert [row[0] for row in table(out, "queries")] == ["12"]


def test_an_unknown_id_in_a_list_is_named_with_its_place_and_takes_the_row_with_it(tmp_path):
    rows = [{"qid": 11, "pos": [0], "neg": [1, 77]}, {"qid": 12, "pos": [3], "neg": [0]}]
    out = run_registered(tmp_path, "mmarco_zh", write_mmarco(tmp_path / "m", rows), tolerance=0.5)
    (found,) = rejects(out)
    assert (found["row"], found["field"]) == (1, "neg[1]")
    assert found["reason"] == "expected a known id, found '77', which chinese_collection.tsv lacks"
    assert [row[0] for row in table(out, "queries")] == ["12"]


DUREADER_TABLES = {
    "queries": [("q1", "what lifts a wing", "train"), ("q2", "what is drag", "train")],
    "corpus": [("d0", "", "lift"), ("d1", "", "flow"), ("d2", "", "drag")],
    "qrels": [("q1", "d0", 1), ("q1", "d1", 1), ("q2", "d2", 1)],
    "negatives": [("q1", "d2")],
}


def test_dureader_is_read_from_its_gzip_by_the_texts_of_its_passages(tmp_path):
    write_gzip(tmp_path / "d/train.jsonl.gz", DUREADER)
    out = run_registered(tmp_path, "dureader", tmp_path / "d")
    assert {which: table(out, which) for which in DUREADER_TABLES} == DUREADER_TABLES


@pytest.mark.parametrize("name", ["t2ranking", "dureader", "mmarco_zh", "cmedqa2", "multi_cpr_ecom"])
@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "parquet"])
def test_a_ready_made_copy_is_read_from_one_file(tmp_path, name, suffix):
    path = tmp_path / f"copy.{suffix}"
    if suffix == "parquet":
        pd.DataFrame(READY_MADE).to_parquet(path)
    elif suffix == "jsonl.gz":
        write_gzip(path, READY_MADE)
    else:
        write_lines(path, READY_MADE)
    out = run_registered(tmp_path, name, path)
    assert {which: table(out, which) for which in DUREADER_TABLES} == DUREADER_TABLES


@pytest.mark.parametrize("name", ["t2ranking", "dureader", "mmarco_zh", "cmedqa2", "multi_cpr_ecom"])
def test_a_ready_made_copy_in_several_parts_is_read_from_its_folder(tmp_path, name):
    folder = tmp_path / "copy"
    folder.mkdir()
    for part, row in enumerate(READY_MADE):
        pd.DataFrame([row]).to_parquet(folder / f"train-{part:05}-of-00002.parquet")
    out = run_registered(tmp_path, name, folder)
    assert {which: table(out, which) for which in DUREADER_TABLES} == DUREADER_TABLES
    assert counts(out)["rows"] == 2


def test_the_origin_s_own_files_go_before_a_ready_made_copy_beside_them(tmp_path):
    folder = write_t2ranking(tmp_path / "t2")
    pd.DataFrame(READY_MADE).to_parquet(folder / "train-00000-of-00001.parquet")
    assert counts(run_registered(tmp_path, "t2ranking", folder))["documents"] == 4


@pytest.mark.parametrize(
    ("bad", "field", "reason"),
    [
        ({"positive_passages": "text"}, "positive_passages", "expected a list of texts, found 'text'"),
        ({"positive_passages": []}, "positive_passages", "expected one text at least, found none"),
        ({"negative_passages": [{"docid": "x"}]}, "negative_passages[0].text", "expected text, found None"),
        ({"positive_passages": [{"text": 5}]}, "positive_passages[0].text", "expected text, found 5"),
        ({"query": ""}, "query", "expected text, found an empty one"),
    ],
)
def test_a_bad_row_of_dureader_is_named(tmp_path, bad, field, reason):
    write_gzip(tmp_path / "train.jsonl.gz", [DUREADER[0], DUREADER[1] | bad])
    out = run_registered(tmp_path, "dureader", tmp_path / "train.jsonl.gz", tolerance=0.5)
    assert [(entry["row"], entry["field"], entry["reason"]) for entry in rejects(out)] == [(2, field, reason)]


def test_a_gzip_that_breaks_off_is_an_error_and_leaves_nothing_in_the_output(tmp_path):
    rows = [DUREADER[0] | {"query": f"query {number}"} for number in range(3000)]
    path = write_gzip(tmp_path / "train.jsonl.gz", rows)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"train\.jsonl\.gz: not readable, broken or incomplete"):
        run_registered(tmp_path, "dureader", path)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_gzip_that_is_none_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "train.jsonl.gz"
    path.write_text(json.dumps(DUREADER[0]))
    with pytest.raises(InputError, match=r"train\.jsonl\.gz: not readable"):
        run_registered(tmp_path, "dureader", path)


def test_a_dev_set_is_cut_from_training_queries_and_no_spelling_of_one_is_in_both(tmp_path):
    forms = ("Query {}", "query  {}", "QUERY {} ", "\tquery {}")
    rows = [{"query": forms[n % 4].format(n % 50), "positive": [f"document {n}"], "negative": []} for n in range(200)]
    out = run_registered(tmp_path, "t2ranking", write_lines(tmp_path / "copy.jsonl", rows), splits=HALF)
    queries = table(out, "queries")
    assert len({text_key(text) for _, text, _ in queries}) == len(queries) == 50
    assert 10 < sum(split == "dev" for _, _, split in queries) < 40
    assert counts(out)["filtered"] == {"queries that repeat": 150}
    assert len(table(out, "qrels")) == 200


def test_named_negatives_keeps_the_first_and_counts_the_others(tmp_path):
    out = run_registered(tmp_path, "mmarco_zh", write_mmarco(tmp_path / "m"), named_negatives=1)
    assert named(out, "negatives") == [("11", "一"), ("12", "零")]
    assert counts(out)["filtered"] == {"negatives over named_negatives": 1}
    path = write_lines(tmp_path / "copy.jsonl", READY_MADE)
    assert table(run_registered(tmp_path, "dureader", path, named_negatives=0), "negatives") == []


def test_named_negatives_counts_a_document_beside_several_relevant_ones_once(tmp_path):
    """Question 7 has rows of negatives 3, 4, 3, 4: two documents."""
    out = run_registered(tmp_path, "cmedqa2", write_cmedqa2(tmp_path / "c"), named_negatives=2)
    assert table(out, "negatives") == [("7", "3"), ("7", "4")]
    assert "negatives over named_negatives" not in counts(out)["filtered"]
