from __future__ import annotations

import pandas as pd
import pytest
import torch

from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.evaluate.geometry import alignment, anisotropy, spectrum, uniformity
from codiemb_pipeline.evaluate.local_tasks import BenchmarkData
from codiemb_pipeline.evaluate.space import Probe, make_probe, measure_space
from codiemb_pipeline.params import EncoderParams
from codiemb_pipeline.params.evaluate import GeometryParams, LocalRetrieval, LocalSTS

TAGS = BenchmarkData(
    "Tags",
    LocalRetrieval(type="retrieval", source="tags", split="test"),
    {
        "queries": pd.DataFrame({"query_id": ["0", "1"], "text": ["dog", "river"], "split": "test"}),
        "corpus": pd.DataFrame({"doc_id": ["0", "1"], "title": ["", "big"], "text": ["the dog", "water"]}),
        "qrels": pd.DataFrame({"query_id": ["0", "1"], "doc_id": ["0", "1"], "relevance": [1, 2]}),
    },
    "revision",
)
ROWS = [("dog", "cat", 0.79), ("cat", "fish", 0.1), ("bird", "a bird", 0.8)]
WORDS = BenchmarkData(
    "Words",
    LocalSTS(type="sts", source="words", split="test"),
    {"pairs": pd.DataFrame(ROWS, columns=["text_a", "text_b", "gold"])},
    "revision",
)
TEXTS = {"dog", "river", "the dog", "big water", "cat", "fish", "bird", "a bird"}
PAIRS = {("dog", "the dog"), ("river", "big water"), ("bird", "a bird")}


def test_a_probe_holds_every_text_once_and_the_pairs_that_belong_together() -> None:
    probe = make_probe([TAGS, WORDS], GeometryParams(seed=1, texts=100))
    assert len(probe.texts) == len(TEXTS)
    assert (set(probe.texts), set(probe.pairs)) == (TEXTS, PAIRS)


def test_a_probe_depends_on_the_seed_but_not_on_the_order_of_benchmarks() -> None:
    few = GeometryParams(seed=1, texts=4)
    probe = make_probe([TAGS, WORDS], few)
    assert len(probe.texts) == 4
    assert make_probe([WORDS, TAGS], few) == probe
    others = [make_probe([TAGS, WORDS], GeometryParams(seed=seed, texts=4)).texts for seed in range(2, 6)]
    assert any(texts != probe.texts for texts in others)


def test_the_measures_are_the_formulas_on_the_encoder_s_vectors(tiny_encoder_params: EncoderParams) -> None:
    encoder = load_encoder(tiny_encoder_params)
    probe = make_probe([TAGS, WORDS], GeometryParams(seed=1, texts=100))
    measured = measure_space(encoder, probe, tokens_per_chunk=64)
    vectors = encode_texts(encoder, probe.texts, tokens_per_chunk=64)
    first, second = (
        encode_texts(encoder, [pair[side] for pair in probe.pairs], tokens_per_chunk=64) for side in (0, 1)
    )
    similarities = []
    for text in probe.texts:
        ids = encoder.tokenizer.backend(text)["input_ids"]
        with torch.inference_mode():
            states = encoder.model.backbone(input_ids=torch.tensor([ids])).last_hidden_state[0]
        cosines = torch.cosine_similarity(states[:, None], states[None], dim=-1)
        similarities.append(float(cosines[~torch.eye(len(ids), dtype=torch.bool)].mean()))
    expected = {
        "anisotropy": anisotropy(vectors),
        "alignment": alignment(first, second),
        "uniformity": uniformity(vectors),
        **spectrum(vectors),
        "token_similarity": sum(similarities) / len(similarities),
    }
    assert measured == pytest.approx(expected, abs=1e-5)


def test_without_pairs_there_is_no_alignment(tiny_encoder_params: EncoderParams) -> None:
    measured = measure_space(load_encoder(tiny_encoder_params), Probe(["dog", "cat"], []), tokens_per_chunk=64)
    assert measured["alignment"] is None
    assert measured["anisotropy"] is not None
