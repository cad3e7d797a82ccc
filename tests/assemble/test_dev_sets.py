"""Dev sets by hand."""

import pytest

from codiemb_pipeline.artifacts.ingest import PairTables, read_pairs, read_retrieval
from codiemb_pipeline.assemble.dev_sets import dev_set
from codiemb_pipeline.assemble.tokens import TextRegister
from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.encoder import PromptParams

PROMPTS = PromptBook(
    PromptParams(
        template="{instruction}: ", document_prefix="", in_pooling=True, instructions={"ir": "find", "sts": ""}
    )
)


def texts_of(register: TextRegister) -> dict[int, str]:
    return {
        number: prefix + text
        for prefix, texts, numbers in register.batches(99)
        for number, text in zip(numbers, texts, strict=True)
    }


def test_retrieval_holds_the_dev_queries_the_whole_corpus_and_qrels_by_row(make_params, sources):
    register = TextRegister()
    held_out, entry = dev_set("animals", make_params(), PROMPTS, sources, register)
    texts = texts_of(register)
    assert [texts[number] for number in held_out.queries] == ["find: fish", "find: house"]
    assert [texts[number] for number in held_out.documents][:2] == ["document dog", "document cat"]
    assert held_out.qrels.tolist() == [[0, 0, 2], [0, 3, 1], [1, 4, 1]]
    assert (entry["queries"], entry["documents"], entry["qrels"]) == (2, 6, 3)


@pytest.mark.parametrize(("limit", "documents"), [(1, 3), (3, 3), (4, 4), (6, 6), (99, 6)])
def test_a_capped_corpus_always_holds_the_relevant_documents(make_params, sources, limit, documents):
    register = TextRegister()
    held_out, entry = dev_set("animals", make_params(dev_documents=limit), PROMPTS, sources, register)
    texts = texts_of(register)
    assert len(held_out.documents) == entry["documents"] == documents
    assert entry["dropped"]["documents_over_limit"] == 6 - documents
    found = {(texts[held_out.queries[query]], texts[held_out.documents[row]]) for query, row, _ in held_out.qrels}
    expected = {("find: fish", "document dog"), ("find: fish", "document fish"), ("find: house", "document house")}
    assert found == expected


def test_a_dev_query_that_nothing_answers_is_left_out_and_counted(make_params, sources):
    tables = read_retrieval(sources, "animals")
    tables.qrels.drop(tables.qrels.index[tables.qrels["query_id"] == "q4"], inplace=True)
    tables.write(sources / "animals")
    held_out, entry = dev_set("animals", make_params(), PROMPTS, sources, TextRegister())
    assert len(held_out.queries) == 1
    assert entry["dropped"]["queries_without_positives"] == 1


def test_similarity_holds_pairs_and_gold(make_params, sources):
    register = TextRegister()
    held_out, entry = dev_set("words", make_params(), PROMPTS, sources, register)
    texts = texts_of(register)
    assert [[texts[number] for number in pair] for pair in held_out.pairs] == [["red", "blue"], ["new", "old"]]
    assert held_out.gold.tolist() == [0.25, 0.75]
    assert entry["pairs"] == 2


def test_a_source_without_dev_rows_is_an_error_that_names_it(make_params, sources):
    pairs = read_pairs(sources, "words").pairs
    PairTables(pairs[pairs["split"] == "train"]).write(sources / "words")
    with pytest.raises(InputError, match=r"source 'words': .*dev_sources, but has no dev rows"):
        dev_set("words", make_params(), PROMPTS, sources, TextRegister())
