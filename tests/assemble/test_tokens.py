"""Texts to ids to token ids and back, with the tokenizer of the tiny encoder."""

import numpy as np
import pytest

from codiemb_pipeline.artifacts.assemble import TokenStore
from codiemb_pipeline.assemble import tokens
from codiemb_pipeline.assemble.tokens import TextRegister, write_tokens
from codiemb_pipeline.encoder.checkpoint import load_tokenizer


def test_a_text_is_numbered_once_and_again_behind_another_prefix():
    register = TextRegister()
    ids = [
        register.add(*pair) for pair in [("", "dog"), ("query: ", "dog"), ("", "cat"), ("", "dog"), ("query: ", "cat")]
    ]
    assert ids == [0, 1, 2, 0, 3]
    assert len(register) == 4


def test_batches_hold_every_text_once_and_one_prefix_each():
    register = TextRegister()
    added = [(prefix, f"text {number}") for number in range(5) for prefix in ("", "query: ")]
    ids = {register.add(*pair): pair for pair in added}
    batches = list(register.batches(2))
    assert [len(texts) for _, texts, _ in batches] == [2, 2, 1, 2, 2, 1]
    found = {}
    for prefix, texts, numbers in batches:
        found.update(zip(numbers, ((prefix, text) for text in texts), strict=True))
    assert found == ids


@pytest.mark.parametrize("batch", [1, 3, 1024])
def test_texts_come_back_from_their_ids_with_the_prefix_and_its_length(
    batch, monkeypatch, tiny_encoder_params, tmp_path
):
    monkeypatch.setattr(tokens, "TEXTS_PER_BATCH", batch)
    tokenizer, register = load_tokenizer(tiny_encoder_params), TextRegister()
    texts = ["the dog", "a cat", "the small green house of the bird", "old"]
    ids = [(register.add(prefix, text), prefix + text) for text in texts for prefix in ("", "query: ")]
    lengths = write_tokens(register, tokenizer, tmp_path)
    store = TokenStore(tmp_path)
    assert len(store) == len(lengths) == 8
    for number, rendered in ids:
        back = tokenizer.backend.decode(store[number].tolist(), skip_special_tokens=True)
        assert back.replace(" : ", ": ") == rendered
        assert lengths[number] == len(store[number]) == len(rendered.replace(":", " :").split()) + 2
    numbers = np.array([number for number, _ in ids])
    assert store.prompt_lengths(numbers).tolist() == [0, 3] * 4  # [CLS] query :


def test_long_texts_are_cut_to_max_length(tiny_encoder_params, tmp_path):
    register = TextRegister()
    register.add("", "dog " * 100)
    assert write_tokens(register, load_tokenizer(tiny_encoder_params), tmp_path).tolist() == [32]


def test_no_texts_give_an_empty_store(tiny_encoder_params, tmp_path):
    assert len(write_tokens(TextRegister(), load_tokenizer(tiny_encoder_params), tmp_path)) == 0
    assert len(TokenStore(tmp_path)) == 0
