from math import log2

import numpy as np
import pytest
import torch

from codiemb_pipeline.artifacts.assemble import DevPairs, DevRetrieval, TokenStore
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.scoring.dev import score_dev, score_encoder

ANGLES = torch.tensor([0.0, 10.0, 30.0, 60.0, 100.0, 150.0]).deg2rad()


def on_a_circle(texts: np.ndarray) -> torch.Tensor:
    """Embed text i at angle ``ANGLES[i]``: the nearer the angles, the more alike."""
    own = ANGLES[torch.as_tensor(texts)]
    return torch.stack([own.cos(), own.sin()], dim=1)


def retrieval(name: str = "news") -> DevRetrieval:
    # Query row 0 is text 0 (ranks texts 1, 2, 4), query row 1 is text 5 (ranks texts 4, 2, 1).
    qrels = np.array([[0, 1, 2], [0, 0, 1], [1, 2, 1]])
    return DevRetrieval(name, np.array([0, 5]), np.array([2, 1, 4]), qrels)


FIRST = (2 + 1 / log2(3)) / (2 + 1 / log2(3))  # text 1, gain 2, then text 2, gain 1
SECOND = 1.0  # its document row 2 is text 4, the nearest


def pairs(gold: list[float], name: str = "words") -> DevPairs:
    return DevPairs(name, np.array([[0, 1], [1, 3], [0, 5], [2, 3]]), np.array(gold, dtype=np.float32))


def test_scores_are_named_by_source_and_metric_and_averaged_by_task_then_over_both():
    half = DevRetrieval("half", np.array([0]), np.array([1, 2]), np.array([[0, 1, 1]]))  # found second
    alike = pairs([1.0, 0.5, 0.0, 0.7])  # angles 10, 50, 150, 30: in order
    opposed = pairs([0.0, 0.7, 1.0, 0.5], name="opposed")
    tilted = pairs([1.0, 0.7, 0.0, 0.5], name="tilted")  # two neighbours swapped: 1 - 6 * 2 / (4 * 15)
    scores = score_dev([retrieval(), half, alike, opposed, tilted], on_a_circle)
    expected = {
        "news/ndcg_at_10": (FIRST + SECOND) / 2,
        "half/ndcg_at_10": 1 / log2(3),
        "words/cosine_spearman": 1.0,
        "opposed/cosine_spearman": -1.0,
        "tilted/cosine_spearman": 0.8,
        "ir": ((FIRST + SECOND) / 2 + 1 / log2(3)) / 2,
        "sts": 0.8 / 3,
    }
    expected["mean"] = (expected["ir"] + expected["sts"]) / 2
    assert scores == pytest.approx(expected, abs=1e-6)


def test_a_task_without_a_set_has_no_key():
    assert score_dev([retrieval()], on_a_circle).keys() == {"news/ndcg_at_10", "ir", "mean"}
    only_pairs = score_dev([pairs([1.0, 0.5, 0.0, 0.7])], on_a_circle)
    assert only_pairs == pytest.approx({"words/cosine_spearman": 1.0, "sts": 1.0, "mean": 1.0})
    assert score_dev([], on_a_circle) == {}


def test_an_encoder_is_scored_on_the_sets_in_its_model_input(tiny_encoder_params, tmp_path):
    encoder = load_encoder(tiny_encoder_params)
    texts = ["dog", "cat", "the red dog of the mountain", "music", "old paper", "a fish"]
    TokenStore.write(tmp_path / "tokens", *encoder.tokenize(texts))
    sets = [retrieval(), pairs([1.0, 0.5, 0.0, 0.7])]
    for held_out in sets:
        held_out.write(tmp_path / "dev")
    embeddings = encode_texts(encoder, texts, tokens_per_chunk=64)
    expected = score_dev(sets, lambda ids: embeddings[torch.as_tensor(ids)])
    assert score_encoder(encoder, tmp_path, tokens_per_chunk=64) == pytest.approx(expected, abs=1e-6)
