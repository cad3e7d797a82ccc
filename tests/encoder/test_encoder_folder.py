"""The folder of an encoder; test_paper_encoders has its vectors and bytes for every architecture."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from codiemb_pipeline.encoder.checkpoint import (
    base_folder,
    copy_encoder_files,
    load_encoder,
    load_tokenizer,
    save_encoder,
    weights_digest,
)
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.errors import InputError

TEXTS = ["the red dog", "cat", "a small bird of the river and a big fish of the mountain", "", "dog " * 60]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def saved(tiny_encoder_params, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    save_encoder(load_encoder(tiny_encoder_params), folder)
    return folder


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"max_length": 16}, "max_length"),
        ({"pooling": "cls"}, "pooling"),
        ({"normalize": False}, "normalize"),
        ({"prompts": {"document_prefix": "passage: "}}, "prompts"),
        ({"prompts": {"in_pooling": False}}, "prompts"),
        ({"bidirectional": True}, "bidirectional"),
        ({"projection": {"dimensions": 4, "seed": 1}}, "projection"),
        ({"dimensions": 8}, "dimensions"),
    ],
)
def test_a_folder_is_refused_under_other_settings(saved, changed, change, key):
    with pytest.raises(InputError, match=f"made under {key} = ") as caught:
        load_encoder(changed(**change), saved)
    assert str(saved) in str(caught.value)
    with pytest.raises(InputError, match=key):
        load_tokenizer(changed(**change), saved)


def test_the_side_of_padding_is_no_reason_to_refuse_a_folder(saved, changed):
    load_encoder(changed(padding_side="left"), saved)


@pytest.mark.parametrize("name", ["e5-base", "minicpm", "youtu_embedding", "llama-instruct", "plain"])
def test_defect_13_a_folder_s_name_decides_nothing(tiny_encoder_folder, changed, saved, tmp_path, name):
    """The released code takes models by substrings of their path (reference, defect 13)."""
    shutil.copytree(tiny_encoder_folder, tmp_path / name)
    renamed = load_encoder(changed(path=str(tmp_path / name)))
    plain = load_encoder(changed())
    vectors = (encode_texts(encoder, TEXTS, prefix="query: ", tokens_per_chunk=64) for encoder in (renamed, plain))
    assert torch.equal(*vectors)
    save_encoder(renamed, tmp_path / "saved" / name)
    assert files(tmp_path / "saved" / name) == files(saved)


@pytest.mark.parametrize("pooling", ["cls", "mean", "weighted_mean", "last"])
@pytest.mark.parametrize("in_pooling", [True, False])
def test_sentence_transformers_gives_the_same_vectors(changed, pooling, in_pooling, tmp_path, sentence_transformers):
    prompts = {"document_prefix": "document: ", "instructions": {"ir": "query", "news": "new"}}
    encoder = load_encoder(changed(pooling=pooling, prompts={**prompts, "in_pooling": in_pooling}))
    save_encoder(encoder, tmp_path)
    assert json.loads((tmp_path / "codiemb.json").read_text())["sentence_transformers_differs"] == []
    for name in (None, "query", "document", "news"):
        prefix = {None: "", "query": "query: ", "document": "document: ", "news": "new: "}[name]
        ours = encode_texts(encoder, TEXTS, prefix=prefix, tokens_per_chunk=64)
        other = sentence_transformers(tmp_path, TEXTS, prompt_name=name)
        torch.testing.assert_close(other, ours, atol=1e-5, rtol=0, msg=lambda text, at=name: f"prompt {at}: {text}")


def test_all_files_but_the_weights_are_copied(saved, tmp_path):
    copy_encoder_files(saved, tmp_path / "copy")
    expected = files(saved)
    del expected["model.safetensors"]
    assert files(tmp_path / "copy") == expected


def test_the_digest_of_weights_is_of_weights_alone(saved, tmp_path):
    copy_encoder_files(saved, tmp_path)
    with pytest.raises(InputError, match=r"model\.safetensors"):
        weights_digest(tmp_path)
    weights = bytearray((saved / "model.safetensors").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(weights)
    (tmp_path / "config.json").write_text("{}")
    assert weights_digest(tmp_path) == weights_digest(saved)
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert weights_digest(tmp_path) != weights_digest(saved)


def test_the_settings_of_a_folder_are_those_an_embedding_depends_on(saved):
    settings = json.loads((saved / "codiemb.json").read_text())
    model = {"pooling", "normalize", "bidirectional", "projection", "dimensions"}
    assert set(settings) == {*model, "max_length", "append_eos", "prompts", "sentence_transformers_differs"}


@pytest.mark.parametrize(
    "path", ["/nowhere/at/all", "./nowhere", "package:nowhere_at_all/model", "nobody/no-such-model"]
)
def test_a_base_that_is_not_there_is_an_input_error_that_names_it(changed, path):
    with pytest.raises(InputError, match=r"encoder\.path"):
        base_folder(changed(path=path))
