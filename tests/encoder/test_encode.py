"""A text has one vector, that of the text alone: whatever else is in its batch, on whichever side it is padded."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny_encoder import SIZES, make_tiny_encoder
from torch.nn.functional import normalize

from codiemb_pipeline.artifacts.assemble import TokenStore
from codiemb_pipeline.encoder import encode
from codiemb_pipeline.encoder.backbone import must_count_positions
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.encode import encode_ids, encode_texts
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.encoder.tokens import pad
from codiemb_pipeline.errors import InputError

LONG = "a small bird of the river and a big fish of the mountain"
TEXTS = ["the red dog", "cat", LONG, "cat", "old news paper", "music", "", "the red dog"]


@pytest.fixture(scope="module")
def encoder(tiny_encoder_params) -> Encoder:
    return load_encoder(tiny_encoder_params)


def mean_pooled(encoder: Encoder, ids: list[int], skipped: int = 0) -> torch.Tensor:
    """Embed one text by the backbone itself, mean pooled and normalised by hand."""
    with torch.inference_mode():
        states = encoder.model.backbone(input_ids=torch.tensor([ids])).last_hidden_state[0]
    return normalize(states[skipped:].mean(dim=0), dim=0)


@pytest.mark.parametrize("prefix", ["", "query: "])
@pytest.mark.parametrize(("tokens_per_chunk", "texts_per_block"), [(1, 100), (40, 100), (10_000, 100), (50, 2)])
def test_every_text_gets_its_own_vector(encoder, prefix, tokens_per_chunk, texts_per_block, monkeypatch):
    monkeypatch.setattr(encode, "TEXTS_PER_BLOCK", texts_per_block)
    embeddings = encode_texts(encoder, TEXTS, prefix=prefix, tokens_per_chunk=tokens_per_chunk)
    assert embeddings.shape == (len(TEXTS), 16)
    assert embeddings.dtype == torch.float32
    ids = encoder.tokenizer.backend([prefix + text for text in TEXTS], truncation=True, max_length=32)["input_ids"]
    expected = torch.stack([mean_pooled(encoder, row) for row in ids])
    torch.testing.assert_close(embeddings, expected, atol=1e-5, rtol=0)


def test_equal_texts_get_equal_vectors_and_are_encoded_once(encoder):
    encode.tokens.clear()
    embeddings = encode_texts(encoder, TEXTS, tokens_per_chunk=1000)
    assert encode.tokens["encoded"] == sum(map(len, encoder.tokenize(sorted(set(TEXTS)))[0]))
    assert torch.equal(embeddings[1], embeddings[3])
    assert torch.equal(embeddings[0], embeddings[7])
    assert not torch.allclose(embeddings[0], embeddings[1])


def test_bfloat16_is_near_float32_and_another_thing(encoder):
    exact = encode_texts(encoder, TEXTS, tokens_per_chunk=1000)
    coarse = encode_texts(encoder, TEXTS, tokens_per_chunk=1000, bf16=True)
    assert coarse.dtype == torch.float32
    assert not torch.equal(coarse, exact)
    torch.testing.assert_close(coarse, exact, atol=2e-2, rtol=0)
    assert torch.equal(encode_texts(encoder, TEXTS, tokens_per_chunk=1000), exact)


def test_token_ids_give_the_vectors_of_their_texts(encoder, tmp_path):
    TokenStore.write(tmp_path, *encoder.tokenize(TEXTS, "query: "))
    wanted = np.array([4, 2, 2, 0, 6])
    embeddings = encode_ids(encoder, TokenStore(tmp_path), wanted, tokens_per_chunk=30)
    expected = encode_texts(encoder, [TEXTS[number] for number in wanted], prefix="query: ", tokens_per_chunk=30)
    torch.testing.assert_close(embeddings, expected, atol=1e-5, rtol=0)
    assert torch.equal(embeddings[1], embeddings[2])


@pytest.mark.parametrize("through_a_store", [True, False])
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_token_half_prompt_and_half_text_is_pooled(changed, tmp_path, side, through_a_store):
    """ "the doc" + "ument" is [CLS] the document [SEP]: tokens of the prompt alone would be [CLS] the d ##o ##c [SEP].

    Counting those, or the tokens of the text alone, would leave out, or take in, something else.
    """
    skipping = load_encoder(changed(prompts={"in_pooling": False}, padding_side=side))
    texts = ["ument of the old river", "ument"]
    ids, lengths = skipping.tokenize(texts, "the doc")
    assert lengths == [2, 2]
    if through_a_store:
        TokenStore.write(tmp_path, ids, lengths)
        embeddings = encode_ids(skipping, TokenStore(tmp_path), np.arange(2), tokens_per_chunk=100)
    else:
        embeddings = encode_texts(skipping, texts, prefix="the doc", tokens_per_chunk=100)
    expected = torch.stack([mean_pooled(skipping, row, skipped=2) for row in ids])  # from "document" on
    torch.testing.assert_close(embeddings, expected, atol=1e-5, rtol=0)


def test_no_texts_give_no_vectors(encoder):
    assert encode_texts(encoder, [], tokens_per_chunk=10).shape == (0, 16)


@pytest.mark.parametrize("training", [True, False])
def test_the_encoder_is_left_in_the_mode_it_was_in_and_drops_out_nothing(encoder, training):
    encoder.model.train(training)
    first = encode_texts(encoder, TEXTS, tokens_per_chunk=50)
    second = encode_texts(encoder, TEXTS, tokens_per_chunk=50)
    assert encoder.model.training is training
    assert torch.equal(first, second)
    encoder.model.eval()


def test_a_middle_layer_is_pooled_like_the_last(encoder):
    rows, prompts = encoder.tokenize(["the red dog"])
    batch = pad(rows, prompts, encoder.pad_id)
    with torch.inference_mode():
        last, middle = encoder.model([batch], mid_layer=encoder.model.layers)
        _, first = encoder.model([batch], mid_layer=1)
    assert torch.equal(last, middle)
    assert not torch.allclose(first, last, atol=1e-3)


@pytest.mark.parametrize("in_pooling", [True, False])
@pytest.mark.parametrize("pooling", ["cls", "mean", "weighted_mean", "last"])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", ["bert", "llama", "llama both ways"])
def test_a_vector_does_not_depend_on_the_rest_of_the_batch(
    changed, tiny_decoder_folder, kind, side, pooling, in_pooling
):
    settings = {"bidirectional": kind == "llama both ways", "pooling": pooling, "prompts": {"in_pooling": in_pooling}}
    settings |= {} if kind == "bert" else {"path": str(tiny_decoder_folder)}
    encoder = load_encoder(changed(padding_side=side, **settings))
    rows, prompts = encoder.tokenize(TEXTS, "query: ")
    assert len({len(row) for row in rows}) > 2
    with torch.inference_mode():
        together, middle = encoder.model([pad(rows, prompts, encoder.pad_id, side)], 1)
        alone = [encoder.model([pad([row], [prompts[0]], encoder.pad_id, side)], 1) for row in rows]
    torch.testing.assert_close(together, torch.cat([last for last, _ in alone]), atol=1e-5, rtol=0)
    torch.testing.assert_close(middle, torch.cat([half for _, half in alone]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", ["right", "left"])
def test_gradients_do_not_depend_on_the_rest_of_the_batch(changed, tiny_decoder_folder, side):
    """A row of padding attends to nothing; its states must not turn gradients into NaN."""
    encoder = load_encoder(changed(path=str(tiny_decoder_folder), padding_side=side))
    rows, prompts = encoder.tokenize(TEXTS)
    parameters = [p for p in encoder.model.parameters() if p.ndim == 2]
    found = []
    for batches in ([pad(rows, prompts, encoder.pad_id, side)], [pad([row], [0], encoder.pad_id) for row in rows]):
        loss = encoder.model(batches)[0].cumsum(dim=0).sigmoid().sum()
        found.append(torch.autograd.grad(loss, parameters))
    for together, alone in zip(*found, strict=True):
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_an_encoder_padded_on_the_left_takes_batches_padded_on_the_right(changed):
    encoder = load_encoder(changed(padding_side="left"))
    rows, prompts = encoder.tokenize(TEXTS)
    with torch.inference_mode():
        batches = [pad(rows, prompts, encoder.pad_id, side) for side in ("left", "right")]
        left, right = (encoder.model([batch])[0] for batch in batches)
    torch.testing.assert_close(left, right, atol=1e-5, rtol=0)


def test_positions_that_a_backbone_finds_itself_are_left_to_it(tmp_path, changed):
    """RoBERTa counts from padding_idx + 1 and finds the first token by its id: told to start at 0, it errs."""
    from transformers import RobertaConfig, RobertaModel

    make_tiny_encoder(tmp_path)
    torch.manual_seed(0)
    config = RobertaConfig(vocab_size=150, max_position_embeddings=70, pad_token_id=0, **SIZES)
    RobertaModel(config).save_pretrained(tmp_path)
    encoders = [load_encoder(changed(path=str(tmp_path), padding_side=side)) for side in ("right", "left")]
    right, left = (encode_texts(encoder, TEXTS, prefix="query: ", tokens_per_chunk=1000) for encoder in encoders)
    torch.testing.assert_close(left, right, atol=1e-5, rtol=0)
    assert not must_count_positions(RobertaModel.from_pretrained(tmp_path).eval(), tmp_path, 0)


def test_a_backbone_that_errs_on_the_left_is_refused(tiny_encoder_params, tiny_encoder_folder):
    backbone = load_encoder(tiny_encoder_params).model.backbone

    class Untold(type(backbone)):
        """A BERT that is not to be told positions."""

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            return super().forward(input_ids=input_ids, attention_mask=attention_mask)

    with pytest.raises(InputError, match=r"encoder\.padding_side: .*Untold"):
        must_count_positions(Untold.from_pretrained(tiny_encoder_folder).eval(), tiny_encoder_folder, 0)
