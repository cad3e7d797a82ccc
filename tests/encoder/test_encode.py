import numpy as np
import pytest
import torch

from codiemb_pipeline.artifacts.assemble import TokenStore
from codiemb_pipeline.encoder import encode
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.encode import encode_ids, encode_texts
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.encoder.tokens import pad
from codiemb_pipeline.params import EncoderParams

TEXTS = [
    "the red dog",
    "cat",
    "a small bird of the river and a big fish of the mountain",
    "cat",
    "old news paper",
    "music",
    "",
    "the red dog",
]


@pytest.fixture(scope="module")
def encoder(tiny_encoder_params: EncoderParams) -> Encoder:
    return load_encoder(tiny_encoder_params)


def alone(encoder: Encoder, text: str, prefix: str = "") -> torch.Tensor:
    """Embed one text by the backbone itself, mean pooled and normalised by hand."""
    ids = encoder.tokenizer.backend(prefix + text, truncation=True, max_length=32)["input_ids"]
    with torch.inference_mode():
        states = encoder.model.backbone(input_ids=torch.tensor([ids])).last_hidden_state[0]
    mean = states.mean(dim=0)
    return mean / mean.norm()


@pytest.mark.parametrize("prefix", ["", "query: "])
@pytest.mark.parametrize("tokens_per_chunk", [1, 40, 10_000])
def test_every_text_gets_its_own_vector_whatever_else_is_encoded(encoder, prefix, tokens_per_chunk):
    embeddings = encode_texts(encoder, TEXTS, prefix=prefix, tokens_per_chunk=tokens_per_chunk)
    assert embeddings.shape == (len(TEXTS), 16)
    assert embeddings.dtype == torch.float32
    expected = torch.stack([alone(encoder, text, prefix) for text in TEXTS])
    torch.testing.assert_close(embeddings, expected, atol=1e-5, rtol=0)


def test_equal_texts_get_equal_vectors_and_are_encoded_once(encoder, monkeypatch):
    sizes: list[int] = []
    whole = encode.pad
    monkeypatch.setattr(encode, "pad", lambda rows, *rest: sizes.append(len(rows)) or whole(rows, *rest))
    embeddings = encode_texts(encoder, TEXTS, tokens_per_chunk=1000)
    assert sum(sizes) == len(set(TEXTS))
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


def test_blocks_change_nothing(encoder, monkeypatch):
    whole = encode_texts(encoder, TEXTS, tokens_per_chunk=50)
    monkeypatch.setattr(encode, "TEXTS_PER_BLOCK", 2)
    torch.testing.assert_close(encode_texts(encoder, TEXTS, tokens_per_chunk=50), whole, atol=1e-5, rtol=0)


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
    for row, embedding in zip(ids, embeddings, strict=True):
        with torch.inference_mode():
            states = skipping.model.backbone(input_ids=torch.tensor([row])).last_hidden_state[0]
        mean = states[2:].mean(dim=0)  # from "document" on
        torch.testing.assert_close(embedding, mean / mean.norm(), atol=1e-5, rtol=0)


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
