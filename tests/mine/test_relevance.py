"""Tables of a source arranged by training query, and the text groups of its documents."""

import pytest
from mining_inputs import make_params
from tiny_tables import retrieval_tables

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.mine.relevance import MiningSource
from codiemb_pipeline.mine.work_files import laid_out, lay_out

CORPUS = [("d0", "", "a dog"), ("d1", "A", "Dog"), ("d2", "", "a cat"), ("d3", "", "a fish")]


@pytest.fixture
def read(tmp_path):
    def read(queries, qrels, negatives=()) -> MiningSource:
        tables = retrieval_tables(queries, CORPUS, qrels, negatives)
        lay_out(tables, "s", make_params(), tmp_path)
        return laid_out(tables, "s", tmp_path)

    return read


def test_only_training_queries_are_mined_but_all_qrels_count(read):
    source = read([("q0", "dog", "dev"), ("q1", "cat", "train")], [("q0", "d0", 1), ("q1", "d2", 1)])
    assert source.query_ids == ["q1"]
    assert source.document_ids == ["d0", "d1", "d2", "d3"]
    assert source.known[0].positives.tolist() == [2]


def test_documents_equal_but_for_case_and_white_space_share_a_group_title_included(read):
    source = read([("q", "dog", "train")], [("q", "d0", 1)])
    dog, same, *others = source.groups.tolist()
    assert dog == same
    assert len({dog, *others}) == 3
    own = set(source.known[0].groups.tolist()) - {dog}
    assert len(own) == 1  # the query's own text, which no document has
    assert not own & set(others)
    assert source.excluded.tolist() == [2]


def test_the_query_s_own_text_in_the_corpus_is_among_the_known(read):
    source = read([("q", "A FISH", "train")], [("q", "d2", 1)])
    assert set(source.known[0].groups.tolist()) == set(source.groups[2:].tolist())


def test_queries_of_the_same_text_share_their_positives_and_named_negatives(read):
    queries = [("q0", "dog", "train"), ("q1", " Dog", "train"), ("q2", "cat", "train")]
    qrels = [("q0", "d0", 1), ("q1", "d2", 3), ("q1", "d0", 2)]
    source = read(queries, qrels, [("q0", "d3"), ("q0", "d3")])
    assert [known.positives.tolist() for known in source.known] == [[0, 2], [0, 2], []]
    assert [rows.tolist() for rows in source.named] == [[3], [3], []]


@pytest.mark.parametrize(
    ("qrels", "negatives", "where"),
    [
        ([("q", "d0", 1), ("q", "dX", 1)], [], r"qrels, row 2: doc_id: .*'dX'"),
        ([], [("q", "dX")], r"negatives, row 1: doc_id: .*'dX'"),
        ([("nobody", "d0", 1)], [], r"qrels, row 1: query_id: .*'nobody'"),
    ],
)
def test_an_unknown_id_is_an_error_that_names_table_row_and_field(read, qrels, negatives, where):
    with pytest.raises(InputError, match=f"'s': {where}"):
        read([("q", "dog", "train")], qrels, negatives)
