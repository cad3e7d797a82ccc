"""A decoder that attends both ways, tested on states and not on its configuration; see also test_paper_encoders."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from codiemb_pipeline.encoder.backbone import attends_both_ways, load_backbone
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.encoder.tokens import pad
from codiemb_pipeline.errors import InputError

TEXTS = ["the red dog", "cat", "a small bird of the river and a big fish of the mountain"]


@pytest.fixture(scope="module")
def encoder(changed: Any, tiny_decoder_folder: Path) -> Encoder:
    return load_encoder(changed(path=str(tiny_decoder_folder), bidirectional=True))


def states(encoder: Encoder, rows: list[list[int]]) -> torch.Tensor:
    with torch.inference_mode():
        return encoder.model.token_states(pad(rows, [0] * len(rows), encoder.pad_id))


def test_without_it_a_decoder_sees_the_past_alone(changed, tiny_decoder_folder):
    encoder = load_encoder(changed(path=str(tiny_decoder_folder)))
    both = states(encoder, [[5, 6, 7], [5, 6, 8]])
    torch.testing.assert_close(both[0, :2], both[1, :2], atol=1e-6, rtol=0)
    assert not attends_both_ways(encoder.model.backbone)


def test_states_are_those_of_attention_under_a_mask_of_ones(encoder, tiny_decoder_folder):
    """The causal model given a 4D mask that hides nothing is another way to the same states; their mean is pooled."""
    from transformers import AutoModel

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
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen2 with windows", "mistral", "mistral with windows"])
def test_decoders_of_every_style_can_do_it(changed, tmp_path, kind, attention):
    from transformers import AutoModel, LlamaConfig, MistralConfig, Qwen2Config

    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"num_key_value_heads": 1, "intermediate_size": 32, "pad_token_id": 0, "initializer_range": 0.3}
    windows = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}
    config = {
        "llama": lambda: LlamaConfig(**sizes),
        "qwen2": lambda: Qwen2Config(**sizes),
        "qwen2 with windows": lambda: Qwen2Config(**sizes, **windows),
        "mistral": lambda: MistralConfig(**sizes, sliding_window=None),
        "mistral with windows": lambda: MistralConfig(**sizes, sliding_window=4),
    }[kind]()
    AutoModel.from_config(config).save_pretrained(tmp_path)
    loaded = load_backbone(tmp_path, changed(bidirectional=True))
    loaded.set_attn_implementation(attention)
    assert attends_both_ways(loaded)


def test_an_encoder_that_attends_both_ways_anyhow_may_be_asked_to(changed):
    asked, unasked = (
        encode_texts(load_encoder(changed(bidirectional=value)), TEXTS, tokens_per_chunk=100) for value in (True, False)
    )
    assert torch.equal(asked, unasked)


def test_a_backbone_that_stays_causal_is_refused(changed, tiny_decoder_folder, monkeypatch):
    """Such as one whose own code makes the mask, and knows nothing of the key."""
    from transformers.models.llama import modeling_llama

    whole = modeling_llama.create_causal_mask

    def deaf(config: Any, **arguments: Any) -> Any:
        config = type(config)(**{**config.to_dict(), "is_causal": True})
        config._attn_implementation = "eager"
        return whole(config=config, **arguments)

    params = changed(path=str(tiny_decoder_folder), bidirectional=True)
    monkeypatch.setattr(modeling_llama, "create_causal_mask", deaf)
    with pytest.raises(InputError, match=r"encoder\.bidirectional: .*, found LlamaModel,"):
        load_encoder(params)


def test_a_backbone_that_is_causal_on_padded_batches_alone_is_found_out():
    """As sdpa may be: it needs no mask without padding."""

    class Stub(torch.nn.Module):
        config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=50))

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            states = input_ids.float().unsqueeze(-1)
            seen = states.sum(1, keepdim=True).expand_as(states) if attention_mask.all() else states.cumsum(1)
            return SimpleNamespace(last_hidden_state=seen)

    assert not attends_both_ways(Stub())
