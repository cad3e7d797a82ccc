"""The end-of-sequence token: put at the end as an id, after the cut."""

import json
from pathlib import Path

import pytest
import torch
from tiny_encoder import make_tiny_decoder

from codiemb_pipeline.encoder.checkpoint import load_encoder, load_tokenizer, save_encoder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.errors import InputError

TEXTS = ["the red dog", "cat", "", "dog " * 60, "the </s> dog"]
# What a tokenizer puts around a text, and how it is told to.
KINDS = {
    "start": {},
    "nothing": {"template": ""},
    "as Qwen 2": {"template": "", "byte_level": True},
    "as Llama 3": {"byte_level": True},
    "as Llama 2": {"names": {"add_bos_token": True, "add_eos_token": False}},
}


@pytest.fixture(params=KINDS)
def folder(request, tmp_path) -> Path:
    return make_tiny_decoder(tmp_path / "base", **KINDS[request.param])


def test_defect_9_every_text_ends_with_it_also_one_that_is_cut(folder, changed):
    plain, ended = (load_tokenizer(changed(path=str(folder), append_eos=value)) for value in (False, True))
    eos = plain.backend.eos_token_id
    without, _ = plain.tokenize(TEXTS)
    ids, prompts = ended.tokenize(TEXTS)
    assert [row[-1] for row in ids] == [eos] * len(TEXTS)
    assert [row[:-1] for row in ids] == [row[:31] for row in without]  # max_length is 32
    assert [len(row) for row in without][3] == [len(row) for row in ids][3] == 32
    assert prompts == [0] * len(TEXTS)


def test_the_end_token_is_prompt_only_where_there_is_nothing_else(tiny_decoder_folder, changed):
    ended = load_tokenizer(changed(path=str(tiny_decoder_folder), append_eos=True))
    ids, prompts = ended.tokenize(["dog", "", "dog " * 60], "query: ")
    assert prompts == [3, 4, 3]
    assert [len(row) for row in ids] == [5, 4, 32]


def test_a_tokenizer_that_appends_the_end_token_itself_is_left_alone(tmp_path, changed):
    make_tiny_decoder(tmp_path, template="<s> $A </s>")
    plain, ended = (load_tokenizer(changed(path=str(tmp_path), append_eos=value)) for value in (False, True))
    assert ended.tokenize(TEXTS) == plain.tokenize(TEXTS)
    assert [row.count(3) for row in ended.tokenize(TEXTS)[0]] == [1, 1, 1, 1, 2]


def test_a_tokenizer_without_an_end_token_is_refused(changed, tiny_encoder_folder):
    with pytest.raises(InputError, match=r"encoder\.append_eos: .* has no end-of-sequence token") as caught:
        load_tokenizer(changed(append_eos=True))
    assert str(tiny_encoder_folder) in str(caught.value)


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_sentence_transformers_appends_the_end_token_too(folder, changed, tmp_path, pooling, sentence_transformers):
    params = changed(path=str(folder), append_eos=True, pooling=pooling)
    encoder = load_encoder(params)
    ids = encoder.tokenizer.tokenize(TEXTS, "query: ")
    save_encoder(encoder, tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "codiemb.json").read_text())["sentence_transformers_differs"] == []
    ours = encode_texts(encoder, TEXTS, tokens_per_chunk=64)
    torch.testing.assert_close(sentence_transformers(tmp_path / "saved", TEXTS), ours, atol=1e-5, rtol=0)
    again = load_encoder(params, tmp_path / "saved")
    assert again.tokenizer.tokenize(TEXTS, "query: ") == encoder.tokenizer.tokenize(TEXTS, "query: ") == ids
    save_encoder(again, tmp_path / "again")
    for name in ("tokenizer.json", "tokenizer_config.json", "codiemb.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()


def test_an_end_token_that_the_export_cannot_append_is_reported(tiny_decoder_folder, changed, tmp_path):
    from tokenizers import processors

    encoder = load_encoder(changed(path=str(tiny_decoder_folder), append_eos=True))
    # A kind of post-processor that has no place for a second token at the end.
    encoder.tokenizer.backend.backend_tokenizer.post_processor = processors.BertProcessing(("<unk>", 1), ("<s>", 2))
    save_encoder(encoder, tmp_path)
    (said,) = json.loads((tmp_path / "codiemb.json").read_text())["sentence_transformers_differs"]
    assert "'</s>'" in said
    again = load_encoder(encoder.params, tmp_path)
    assert again.tokenizer.tokenize(TEXTS) == encoder.tokenizer.tokenize(TEXTS)
