"""Texts to ids to token ids and back, and dev sets by hand."""

import numpy as np
import pytest

from codiemb_pipeline.artifacts.assemble import TokenStore
from codiemb_pipeline.artifacts.ingest import PairTables, read_pairs
from codiemb_pipeline.assemble import model_input
from codiemb_pipeline.assemble.model_input import TextRegister, dev_set, write_tokens
from codiemb_pipeline.encoder.checkpoint import load_tokenizer
from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.encoder import PromptParams


def test_a_text_is_numbered_once_and_again_behind_another_prefix():
    register = TextRegister()
    ids = [register.add("", ["dog", "cat", "dog"]), register.add("query: ", ["dog"]), register.add("", ["cat", "fish"])]
    assert [found.tolist() for found in ids] == [[0, 1, 0], [2], [1, 3]]
    assert len(register) == 4


@pytest.mark.parametrize("batch", [1, 3, 1024])
def test_texts_come_back_from_their_ids_with_the_prefix_and_its_length(
    batch, monkeypatch, tiny_encoder_params, tmp_path
):
    monkeypatch.setattr(model_input, "TEXTS_PER_BATCH", batch)
    tokenizer, register = load_tokenizer(tiny_encoder_params), TextRegister()
    texts = ["the dog", "a cat", "the small green house of the bird", "old"]
    ids = [(register.add(prefix, [text])[0], prefix + text) for text in texts for prefix in ("", "query: ")]
    lengths = write_tokens(register, tokenizer, tmp_path)
    store = TokenStore(tmp_path)
    assert len(store) == len(lengths) == 8
    for number, rendered in ids:
        back = tokenizer.backend.decode(store[number].tolist(), skip_special_tokens=True)
        assert back.replace(" : ", ": ") == rendered
        assert lengths[number] == len(store[number]) == len(rendered.replace(":", " :").split()) + 2
    numbers = np.array([number for number, _ in ids])
    assert store.prompt_lengths(numbers).tolist() == [0, 3] * 4  # [CLS] query :


def test_long_texts_are_cut_to_max_length_and_no_texts_give_an_empty_store(tiny_encoder_params, tmp_path):
    register, tokenizer = TextRegister(), load_tokenizer(tiny_encoder_params)
    assert len(write_tokens(register, tokenizer, tmp_path)) == len(TokenStore(tmp_path)) == 0
    register.add("", ["dog " * 100])
    assert write_tokens(register, tokenizer, tmp_path).tolist() == [32]


@pytest.fixture
def dev(make_params, sources):
    """Return the dev set of a source, its counts, and all texts by id."""
    prompts = {"template": "{instruction}: ", "document_prefix": "", "in_pooling": True, "instructions": {"ir": "find"}}

    def dev(name: str, **changes):
        register = TextRegister()
        book = PromptBook(PromptParams.parse(prompts, "encoder.prompts"))
        held_out, counts = dev_set(name, make_params(**changes), book, sources, register)
        batches = list(register.batches(99))
        texts = {number: prefix + text for prefix, *both in batches for text, number in zip(*both, strict=True)}
        return held_out, counts, texts

    return dev


def test_retrieval_holds_the_dev_queries_the_whole_corpus_and_qrels_by_row(dev):
    held_out, counts, texts = dev("animals")
    assert [texts[number] for number in held_out.queries] == ["find: fish", "find: house"]
    assert [texts[number] for number in held_out.documents][:2] == ["document dog", "document cat"]
    assert held_out.qrels.tolist() == [[0, 0, 2], [0, 3, 1], [1, 4, 1]]
    assert (counts["queries"], counts["documents"], counts["qrels"]) == (2, 6, 3)


@pytest.mark.parametrize(("limit", "documents"), [(1, 3), (3, 3), (4, 4), (6, 6), (99, 6)])
def test_a_capped_corpus_always_holds_the_relevant_documents(dev, limit, documents):
    held_out, counts, texts = dev("animals", dev_documents=limit)
    assert len(held_out.documents) == counts["documents"] == documents
    assert counts["dropped"]["documents_over_limit"] == 6 - documents
    found = {(texts[held_out.queries[query]], texts[held_out.documents[row]]) for query, row, _ in held_out.qrels}
    expected = {("find: fish", "document dog"), ("find: fish", "document fish"), ("find: house", "document house")}
    assert found == expected


def test_similarity_holds_pairs_and_gold(dev):
    held_out, counts, texts = dev("words")
    assert [[texts[number] for number in pair] for pair in held_out.pairs] == [["red", "blue"], ["new", "old"]]
    assert held_out.gold.tolist() == [0.25, 0.75]
    assert counts["pairs"] == 2


def test_a_source_without_dev_rows_is_an_error_that_names_it(dev, sources):
    pairs = read_pairs(sources, "words").pairs
    PairTables(pairs[pairs["split"] == "train"]).write(sources / "words")
    with pytest.raises(InputError, match=r"source 'words': .*dev_sources, but has no dev rows"):
        dev("words")
