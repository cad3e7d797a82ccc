"""A compiled backbone gives the embeddings and gradients of one that is not."""

import shutil

import pytest
import torch

from codiemb_pipeline.artifacts.assemble import TokenStore
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.tokens import pad
from codiemb_pipeline.params import Params
from codiemb_pipeline.train.entry import prepare


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU; found no g++")
def test_a_compiled_backbone_trains_alike_whatever_the_shape_of_a_chunk(prepared):
    values, model_input = prepared
    params, store = Params.parse(values, ""), TokenStore(model_input / "tokens")
    found = []
    for compiled in (False, True):
        encoder = load_encoder(params.encoder)
        prepare(encoder, store, params.train.model_copy(update={"compile": compiled}))
        chunks = [pad([store[i] for i in texts], [0] * len(texts), encoder.pad_id) for texts in ([0, 1], [2, 3, 4])]
        embeddings, middle = encoder.model(chunks, 1)
        (embeddings.sum() + (middle**2).sum()).backward()
        gradients = {name: part.grad for name, part in encoder.model.named_parameters() if part.grad is not None}
        found.append({"embeddings": embeddings.detach(), "middle": middle.detach(), **gradients})
    assert found[0].keys() == found[1].keys(), "compiling renames no weight"
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name], expected, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
