"""Tables of a source arranged by training query."""

import pandas as pd
import pytest

from codiemb_pipeline.artifacts.ingest import RetrievalTables
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.mine.judgements import read_judgements


def tables(queries, corpus, qrels, negatives=()) -> RetrievalTables:
    return RetrievalTables(
        pd.DataFrame(queries, columns=["query_id", "text", "split"]),
        pd.DataFrame(corpus, columns=["doc_id", "title", "text"]),
        pd.DataFrame(qrels, columns=["query_id", "doc_id", "relevance"]),
        pd.DataFrame(list(negatives), columns=["query_id", "doc_id"]),
    )


CORPUS = [("d0", "", "a dog"), ("d1", "A", "Dog!"), ("d2", "", "a cat"), ("d3", "", "a fish")]


def test_only_training_queries_are_mined_but_all_qrels_count():
    source = read_judgements(
        tables([("q0", "dog", "dev"), ("q1", "cat", "train")], CORPUS, [("q0", "d0", 1), ("q1", "d2", 1)]), "s"
    )
    assert source.query_ids == ["q1"]
    assert source.document_ids == ["d0", "d1", "d2", "d3"]
    assert source.truths[0].positives.tolist() == [2]


def test_documents_equal_but_for_case_and_punctuation_share_a_group_title_included():
    source = read_judgements(tables([("q", "dog", "train")], CORPUS, [("q", "d0", 1)]), "s")
    assert source.groups.tolist() == [0, 0, 1, 2]
    assert source.truths[0].groups.tolist() == [0]
    assert source.most_excluded(range(1)) == 2


def test_the_query_s_own_text_in_the_corpus_is_among_the_truth():
    source = read_judgements(tables([("q", "A FISH", "train")], CORPUS, [("q", "d2", 1)]), "s")
    assert source.truths[0].groups.tolist() == [1, 2]


def test_queries_of_the_same_text_share_their_positives_and_named_negatives():
    queries = [("q0", "dog", "train"), ("q1", "Dog?", "train"), ("q2", "cat", "train")]
    qrels = [("q0", "d0", 1), ("q1", "d2", 3), ("q1", "d0", 2)]
    source = read_judgements(tables(queries, CORPUS, qrels, [("q0", "d3"), ("q0", "d3")]), "s")
    assert [truth.positives.tolist() for truth in source.truths] == [[0, 2], [0, 2], []]
    assert [rows.tolist() for rows in source.named] == [[3], [3], []]


@pytest.mark.parametrize("table", ["qrels", "negatives"])
def test_an_unknown_document_is_an_error_that_names_table_row_and_id(table):
    bad = {"qrels": [("q", "d0", 1), ("q", "dX", 1)]} if table == "qrels" else {"qrels": [], "negatives": [("q", "dX")]}
    row = 2 if table == "qrels" else 1
    with pytest.raises(InputError, match=rf"'s': {table}, row {row}: doc_id: .*'dX'"):
        read_judgements(tables([("q", "dog", "train")], CORPUS, **bad), "s")


def test_an_unknown_query_is_an_error():
    with pytest.raises(InputError, match=r"qrels, row 1: query_id: .*'nobody'"):
        read_judgements(tables([("q", "dog", "train")], CORPUS, [("nobody", "d0", 1)]), "s")


def test_a_source_without_training_queries_is_an_error_that_names_it():
    with pytest.raises(InputError, match="source 'lee': expected training queries"):
        read_judgements(tables([("q", "dog", "test")], CORPUS, [("q", "d0", 1)]), "lee")
