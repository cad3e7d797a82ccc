"""The embedding store: the same bytes whether it is empty, full or off, and what it survives."""

import os

import numpy as np
import pytest
import torch

from codiemb_pipeline.encoder import encode
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.embedding_store import EmbeddingStore, open_store, text_keys
from codiemb_pipeline.encoder.encode import encode_texts

WORDS = ["the", "dog", "saw", "a", "cat", "on", "mat", "and", "ran"]
TEXTS = [" ".join(WORDS[(number * 7 + step) % len(WORDS)] for step in range(1 + number % 9)) for number in range(60)]
TEXTS += [f"{text} {WORDS[number % len(WORDS)]}" for number, text in enumerate(TEXTS)]


@pytest.fixture
def encoder(tiny_encoder_params):
    return load_encoder(tiny_encoder_params)


def vectors(encoder, texts, place=None, gigabytes=1.0, tokens_per_chunk=64):
    """Return the embeddings, and the numbers of tokens that were encoded and known."""
    encode.tokens.clear()
    known = open_store(encoder, place, gigabytes)
    found = encode_texts(encoder, texts, tokens_per_chunk=tokens_per_chunk, known=known)
    return found, encode.tokens["encoded"], encode.tokens["known"]


def test_vectors_are_the_same_bytes_with_the_store_off_empty_partly_full_and_full(encoder, tmp_path):
    off, all_tokens, _ = vectors(encoder, TEXTS)
    half, encoded, _ = vectors(encoder, TEXTS[::2], tmp_path)
    assert torch.equal(half, off[::2])
    partly, rest, known = vectors(encoder, TEXTS, tmp_path, tokens_per_chunk=33)
    assert torch.equal(partly, off)
    assert known >= encoded > 0
    assert rest + known == all_tokens
    full, again, known = vectors(encoder, TEXTS, tmp_path)
    assert torch.equal(full, off)
    assert (again, known) == (0, all_tokens)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_vector_does_not_depend_on_its_neighbours_nor_on_threads(encoder, threads):
    expected = encode_texts(encoder, TEXTS, tokens_per_chunk=1000)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        alone = torch.cat([encode_texts(encoder, [text], tokens_per_chunk=1) for text in TEXTS])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(alone, expected)


def test_other_weights_settings_and_prompts_have_other_vectors(encoder, tiny_encoder_params, tmp_path):
    first, _, _ = vectors(encoder, TEXTS, tmp_path)
    with torch.no_grad():
        next(encoder.model.parameters()).mul_(1.5)
    moved, _, known = vectors(encoder, TEXTS, tmp_path)
    assert known == 0
    assert not torch.equal(moved, first)
    other = load_encoder(tiny_encoder_params.model_copy(update={"pooling": "cls"}))
    _, _, known = vectors(other, TEXTS, tmp_path)
    assert known == 0
    store = open_store(encoder, tmp_path, 1.0)
    encode.tokens.clear()
    prompted = encode_texts(encoder, TEXTS[:9], prefix="dog: ", tokens_per_chunk=64, known=store)
    assert torch.equal(prompted, encode_texts(encoder, TEXTS[:9], prefix="dog: ", tokens_per_chunk=64))
    assert not torch.equal(prompted, moved[:9])


def test_two_processes_see_what_the_other_has_written(encoder, tmp_path):
    first, second = (open_store(encoder, tmp_path, 1.0) for _ in range(2))
    encode_texts(encoder, TEXTS[:20], tokens_per_chunk=64, known=first)
    encode.tokens.clear()
    encode_texts(encoder, TEXTS[:20], tokens_per_chunk=64, known=second)
    assert encode.tokens["encoded"] == 0


def test_a_draft_that_its_writer_renames_while_a_store_is_opened_harms_nothing(encoder, tmp_path):
    expected, all_tokens, _ = vectors(encoder, TEXTS, tmp_path)
    (file,) = tmp_path.glob("*/*.npy")
    (file.parent / ".renamed").symlink_to("nowhere")  # listed, but not there when it is looked at
    again, encoded, known = vectors(encoder, TEXTS, tmp_path)
    assert torch.equal(again, expected)
    assert (encoded, known) == (0, all_tokens)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_file_is_deleted_and_its_texts_are_encoded_again(encoder, tmp_path, damage, caplog):
    expected, all_tokens, _ = vectors(encoder, TEXTS, tmp_path)
    (file,) = tmp_path.glob("*/*.npy")
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes({"cut": bytes(content[:-9]), "flip": bytes(content), "empty": b""}[damage])
    again, encoded, known = vectors(encoder, TEXTS, tmp_path)
    assert torch.equal(again, expected)
    assert (encoded, known) == (all_tokens, 0)
    assert str(file) in caplog.text
    assert vectors(encoder, TEXTS, tmp_path)[1] == 0


def test_a_kill_between_writing_and_renaming_leaves_nothing_that_is_read(encoder, tmp_path):
    expected, all_tokens, _ = vectors(encoder, TEXTS, tmp_path)
    (file,) = tmp_path.glob("*/*.npy")
    file.rename(file.with_name(".draft"))
    again, encoded, _ = vectors(encoder, TEXTS, tmp_path)
    assert encoded == all_tokens
    assert torch.equal(again, expected)


def test_the_least_recently_used_weights_go_first_and_a_full_store_stores_no_more(tmp_path, caplog):
    keys, row = np.arange(2000, dtype=np.uint64).reshape(-1, 2), torch.ones(1000, 8)
    size = (1000 * (16 + 32) + 1000) / 2**30
    for number, name in enumerate(["old", "used", "new"]):
        EmbeddingStore(tmp_path / name, 8, 2.5 * size).add(keys, row)
        if number == 1:
            _set_time(tmp_path / "old", 1.0)
            _set_time(tmp_path / "used", 2.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "used"]
    small = EmbeddingStore(tmp_path / "small", 8, size / 2)
    small.add(keys, row)
    assert not small.read(keys, torch.empty(1000, 8)).any()
    assert "evaluate.store_gigabytes" in caplog.text


def _set_time(folder, at):
    os.utime(folder, (at, at))


def test_keys_tell_rows_apart_and_prompts_where_pooling_leaves_them_out(tiny_encoder_params):
    outside = tiny_encoder_params.model_copy(
        update={"prompts": tiny_encoder_params.prompts.model_copy(update={"in_pooling": False})}
    )
    rows, none, some = [[1, 2], [1, 2, 0], [2, 1]], np.zeros(3, dtype=int), np.ones(3, dtype=int)
    inside, outside = load_encoder(tiny_encoder_params), load_encoder(outside)
    assert len(np.unique(text_keys(inside, rows, none), axis=0)) == 3
    same = np.array_equal(text_keys(inside, rows, none), text_keys(inside, rows, some))
    assert same == tiny_encoder_params.prompts.in_pooling
    assert not np.array_equal(text_keys(outside, rows, none), text_keys(outside, rows, some))
