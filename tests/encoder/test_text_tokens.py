import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codiemb_pipeline.encoder.checkpoint import load_tokenizer
from codiemb_pipeline.encoder.tokens import TextTokenizer, pad, plan_chunks


@pytest.fixture(scope="module")
def tokenizer(tiny_encoder_params) -> TextTokenizer:
    return load_tokenizer(tiny_encoder_params)


@pytest.mark.parametrize(
    ("prefix", "text", "tokens", "prompt"),
    [
        ("", "red dog", "[CLS] red dog [SEP]", 0),
        ("query: ", "red dog", "[CLS] query : red dog [SEP]", 3),
        ("query: ", "dog " * 100, f"[CLS] query : {'dog ' * 28} [SEP]", 3),  # cut, with its last special token
        ("the red", "dog", "[CLS] the red ##d ##o ##g [SEP]", 3),
        ("the doc", "ument", "[CLS] the document [SEP]", 2),  # one token, half prefix and half text
        ("query: ", "", "[CLS] query : [SEP]", 4),  # all prompt: counted whole
    ],
)
def test_a_text_becomes_tokens_and_those_wholly_within_the_prefix_are_its_prompt(
    tokenizer, prefix, text, tokens, prompt
):
    ids, prompts = tokenizer.tokenize(["a cat", text], prefix)
    assert tokenizer.backend.convert_ids_to_tokens(ids[1]) == tokens.split()
    assert prompts[1] == prompt


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
