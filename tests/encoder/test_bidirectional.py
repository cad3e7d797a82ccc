"""A decoder that attends both ways, tested on states; test_own_code has one that cannot."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_encoder import SIZES

from codiemb_pipeline.encoder.backbone import attends_both_ways, load_backbone
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.encoder.tokens import pad

TEXTS = ["the red dog", "cat", "a small bird of the river and a big fish of the mountain"]


def test_without_it_a_decoder_sees_the_past_alone(changed, tiny_decoder_folder):
    encoder = load_encoder(changed(path=str(tiny_decoder_folder)))
    with torch.inference_mode():
        both = encoder.model.token_states(pad([[5, 6, 7], [5, 6, 8]], [0, 0], encoder.pad_id))
    torch.testing.assert_close(both[0, :2], both[1, :2], atol=1e-6, rtol=0)
    assert not attends_both_ways(encoder.model.backbone)


def test_states_are_those_of_attention_under_a_mask_of_ones(changed, tiny_decoder_folder):
    """The causal model given a 4D mask that hides nothing is another way to the same states; their mean is pooled."""
    from transformers import AutoModel

    encoder = load_encoder(changed(path=str(tiny_decoder_folder), bidirectional=True))
    rows, prompts = encoder.tokenize(TEXTS)
    causal = AutoModel.from_pretrained(tiny_decoder_folder, attn_implementation="eager").eval()
    with torch.inference_mode():
        expected = []
        for row in rows:
            mask = torch.zeros(1, 1, len(row), len(row))  # added to the scores
            mean = causal(input_ids=torch.tensor([row]), attention_mask=mask).last_hidden_state[0].mean(dim=0)
            expected.append(mean / mean.norm())
        ours, _ = encoder.model([pad(rows, prompts, encoder.pad_id)])
    torch.testing.assert_close(ours, torch.stack(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(
    ("kind", "windows"),
    [
        ("llama", {}),
        ("qwen2", {}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
        ("mistral", {"sliding_window": None}),
        ("mistral", {"sliding_window": 4}),
    ],
)
def test_decoders_of_every_style_can_do_it(changed, tmp_path, kind, windows, attention):
    from transformers import AutoConfig, AutoModel

    sizes = {**SIZES, "vocab_size": 50, "num_key_value_heads": 1, "pad_token_id": 0, "initializer_range": 0.3}
    AutoModel.from_config(AutoConfig.for_model(kind, **sizes, **windows)).save_pretrained(tmp_path)
    loaded = load_backbone(tmp_path, changed(bidirectional=True))
    loaded.set_attn_implementation(attention)
    assert attends_both_ways(loaded)


def test_an_encoder_that_attends_both_ways_anyhow_may_be_asked_to(changed):
    asked, unasked = (
        encode_texts(load_encoder(changed(bidirectional=value)), TEXTS, tokens_per_chunk=100) for value in (True, False)
    )
    assert torch.equal(asked, unasked)


def test_a_backbone_that_is_causal_on_padded_batches_alone_is_found_out():
    """As sdpa may be: it needs no mask without padding."""

    class Stub(torch.nn.Module):
        config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=50))

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            states = input_ids.float().unsqueeze(-1)
            seen = states.sum(1, keepdim=True).expand_as(states) if attention_mask.all() else states.cumsum(1)
            return SimpleNamespace(last_hidden_state=seen)

    assert not attends_both_ways(Stub())
