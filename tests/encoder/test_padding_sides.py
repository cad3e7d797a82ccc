"""A text has one vector, that of the text alone: whatever else is in its batch, on whichever side it is padded."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_encoder import make_tiny_encoder

from codiemb_pipeline.encoder.backbone import must_count_positions
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.encoder.tokens import pad
from codiemb_pipeline.errors import InputError

TEXTS = ["the red dog", "cat", "a small bird of the river and a big fish of the mountain", "old news paper", ""]


@pytest.fixture(scope="module")
def folders(tiny_encoder_folder: Path, tiny_decoder_folder: Path) -> dict[str, Path]:
    return {"bert": tiny_encoder_folder, "llama": tiny_decoder_folder, "llama both ways": tiny_decoder_folder}


@pytest.mark.parametrize("in_pooling", [True, False])
@pytest.mark.parametrize("pooling", ["cls", "mean", "weighted_mean", "last"])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", ["bert", "llama", "llama both ways"])
def test_a_vector_does_not_depend_on_the_rest_of_the_batch(changed, folders, kind, side, pooling, in_pooling):
    settings = {"path": str(folders[kind]), "bidirectional": kind == "llama both ways", "pooling": pooling}
    encoder = load_encoder(changed(prompts={"in_pooling": in_pooling}, padding_side=side, **settings))
    rows, prompts = encoder.tokenize(TEXTS, "query: ")
    assert len({len(row) for row in rows}) > 2
    with torch.inference_mode():
        together, middle = encoder.model([pad(rows, prompts, encoder.pad_id, side)], 1)
        alone = [encoder.model([pad([row], [prompts[0]], encoder.pad_id, side)], 1) for row in rows]
    torch.testing.assert_close(together, torch.cat([last for last, _ in alone]), atol=1e-5, rtol=0)
    torch.testing.assert_close(middle, torch.cat([half for _, half in alone]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", ["right", "left"])
def test_gradients_do_not_depend_on_the_rest_of_the_batch(changed, folders, side):
    """A row of padding attends to nothing; its states must not turn gradients into NaN."""
    encoder = load_encoder(changed(path=str(folders["llama"]), padding_side=side))
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
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = RobertaConfig(vocab_size=150, max_position_embeddings=70, pad_token_id=0, **sizes)
    RobertaModel(config).save_pretrained(tmp_path)
    right, left = (
        encode_texts(
            load_encoder(changed(path=str(tmp_path), padding_side=side)), TEXTS, prefix="query: ", tokens_per_chunk=1000
        )
        for side in ("right", "left")
    )
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
