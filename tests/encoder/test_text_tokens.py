import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codiemb_pipeline.encoder.checkpoint import load_tokenizer
from codiemb_pipeline.encoder.tokens import TextTokenizer, pad, plan_chunks
from codiemb_pipeline.params import EncoderParams


@pytest.fixture(scope="module")
def tokenizer(tiny_encoder_params: EncoderParams) -> TextTokenizer:
    return load_tokenizer(tiny_encoder_params)


def words(tokenizer: TextTokenizer, ids: list[int]) -> list[str]:
    return tokenizer.backend.convert_ids_to_tokens(ids)


def test_a_text_becomes_its_tokens_between_special_ones(tokenizer):
    ids, prompts = tokenizer.tokenize(["red dog", "cat"])
    assert [words(tokenizer, row) for row in ids] == [["[CLS]", "red", "dog", "[SEP]"], ["[CLS]", "cat", "[SEP]"]]
    assert prompts == [0, 0]


def test_a_long_text_is_cut_to_max_length_and_keeps_its_last_special_token(tokenizer):
    (row,), (prompt,) = tokenizer.tokenize(["dog " * 100], "query: ")
    assert len(row) == 32
    assert words(tokenizer, row)[:4] == ["[CLS]", "query", ":", "dog"]
    assert words(tokenizer, row)[-2:] == ["dog", "[SEP]"]
    assert prompt == 3


def test_the_prompt_length_counts_tokens_wholly_within_the_prefix(tokenizer):
    ids, prompts = tokenizer.tokenize(["red dog", "cat"], "query: ")
    assert words(tokenizer, ids[0]) == ["[CLS]", "query", ":", "red", "dog", "[SEP]"]
    assert prompts == [3, 3]


def test_a_token_that_reaches_beyond_the_prefix_is_no_prompt(tokenizer):
    (row,), (prompt,) = tokenizer.tokenize(["dog"], "the red")  # "the reddog": letters, as no such word is known
    tokens = words(tokenizer, row)
    assert tokens[:4] == ["[CLS]", "the", "red", "##d"]
    assert prompt == 3
    (row,), (prompt,) = tokenizer.tokenize(["ument"], "the doc")  # one token, half prefix and half text
    assert words(tokenizer, row) == ["[CLS]", "the", "document", "[SEP]"]
    assert prompt == 2


def test_a_text_that_is_all_prompt_is_counted_whole(tokenizer):
    (row,), (prompt,) = tokenizer.tokenize([""], "query: ")
    assert (len(row), prompt) == (4, 4)


@pytest.mark.parametrize(("side", "row", "mask"), [("right", [8, 9, 9], [1, 0, 0]), ("left", [9, 9, 8], [0, 0, 1])])
def test_padding_fills_up_on_the_side_asked_for(side, row, mask):
    batch = pad([[5, 6, 7], np.array([8], dtype=np.int32)], [1, 0], 9, side)
    assert batch.input_ids.tolist() == [[5, 6, 7], row]
    assert batch.attention_mask.tolist() == [[1, 1, 1], mask]
    assert batch.prompt_lengths.tolist() == [1, 0]
    assert batch.positions[batch.attention_mask == 1].tolist() == [0, 1, 2, 0]


@given(
    lengths=st.lists(st.integers(1, 200), max_size=60),
    tokens=st.integers(1, 2000),
    max_padding=st.floats(0, 1, exclude_max=True),
)
def test_chunks_hold_every_text_once_within_budget_and_padding(lengths, tokens, max_padding):
    array = np.array(lengths, dtype=np.int64)
    chunks = plan_chunks(array, tokens=tokens, max_padding=max_padding)
    positions = [int(position) for chunk in chunks for position in chunk]
    assert sorted(positions) == list(range(len(lengths)))
    for chunk in chunks:
        padded = len(chunk) * int(array[chunk].max())
        assert padded <= tokens or len(chunk) == 1
        assert padded - int(array[chunk].sum()) <= max_padding * padded


def test_chunks_go_from_long_to_short_and_use_the_budget():
    chunks = plan_chunks(np.array([5, 9, 5, 5, 5, 5]), tokens=20, max_padding=0.1)
    assert [chunk.tolist() for chunk in chunks] == [[1], [0, 2, 3, 4], [5]]
    assert plan_chunks(np.array([], dtype=np.int64), tokens=20, max_padding=0.1) == []
