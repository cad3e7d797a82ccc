"""Tables of a source arranged by training query."""

import pandas as pd
import pytest

from codiemb_pipeline.artifacts.ingest import RetrievalTables
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.mine.relevance import MiningSource, check_minable, read_relevance
from codiemb_pipeline.mine.work_files import digest, number_digests
from codiemb_pipeline.texts import text_key


def tables(queries, corpus, qrels, negatives=()) -> RetrievalTables:
    return RetrievalTables(
        pd.DataFrame(queries, columns=["query_id", "text", "split"]),
        pd.DataFrame(corpus, columns=["doc_id", "title", "text"]),
        pd.DataFrame(qrels, columns=["query_id", "doc_id", "relevance"]),
        pd.DataFrame(list(negatives), columns=["query_id", "doc_id"]),
    )


def read(tables: RetrievalTables, name: str) -> MiningSource:
    texts = [*tables.document_texts(), *tables.of_split("train")["text"]]
    return read_relevance(tables, name, number_digests(b"".join(digest(text_key(text)) for text in texts))[1])


CORPUS = [("d0", "", "a dog"), ("d1", "A", "Dog!"), ("d2", "", "a cat"), ("d3", "", "a fish")]


def test_only_training_queries_are_mined_but_all_qrels_count():
    source = read(
        tables([("q0", "dog", "dev"), ("q1", "cat", "train")], CORPUS, [("q0", "d0", 1), ("q1", "d2", 1)]), "s"
    )
    assert source.query_ids == ["q1"]
    assert source.document_ids == ["d0", "d1", "d2", "d3"]
    assert source.known[0].positives.tolist() == [2]


def test_documents_equal_but_for_case_and_punctuation_share_a_group_title_included():
    source = read(tables([("q", "dog", "train")], CORPUS, [("q", "d0", 1)]), "s")
    assert source.groups.tolist() == [0, 0, 1, 2]
    assert source.known[0].groups.tolist() == [0, 3]  # the text of its positive, and its own, which no document has
    assert source.most_excluded(range(1)) == 2


def test_the_query_s_own_text_in_the_corpus_is_among_the_known():
    source = read(tables([("q", "A FISH", "train")], CORPUS, [("q", "d2", 1)]), "s")
    assert source.known[0].groups.tolist() == [1, 2]


def test_queries_of_the_same_text_share_their_positives_and_named_negatives():
    queries = [("q0", "dog", "train"), ("q1", "Dog?", "train"), ("q2", "cat", "train")]
    qrels = [("q0", "d0", 1), ("q1", "d2", 3), ("q1", "d0", 2)]
    source = read(tables(queries, CORPUS, qrels, [("q0", "d3"), ("q0", "d3")]), "s")
    assert [known.positives.tolist() for known in source.known] == [[0, 2], [0, 2], []]
    assert [rows.tolist() for rows in source.named] == [[3], [3], []]


@pytest.mark.parametrize("table", ["qrels", "negatives"])
def test_an_unknown_document_is_an_error_that_names_table_row_and_id(table):
    bad = {"qrels": [("q", "d0", 1), ("q", "dX", 1)]} if table == "qrels" else {"qrels": [], "negatives": [("q", "dX")]}
    row = 2 if table == "qrels" else 1
    with pytest.raises(InputError, match=rf"'s': {table}, row {row}: doc_id: .*'dX'"):
        read(tables([("q", "dog", "train")], CORPUS, **bad), "s")


def test_an_unknown_query_is_an_error():
    with pytest.raises(InputError, match=r"qrels, row 1: query_id: .*'nobody'"):
        read(tables([("q", "dog", "train")], CORPUS, [("nobody", "d0", 1)]), "s")


def test_a_source_without_training_queries_is_an_error_that_names_it():
    with pytest.raises(InputError, match="source 'lee': expected training queries"):
        check_minable(tables([("q", "dog", "test")], CORPUS, [("q", "d0", 1)]), "lee")
