"""The real LCQMC, STSB, AFQMC and QBQTC in the hub's layout, where ``../shared/data/hub`` holds them.

Our whole path against mteb run by hand on the same vectors, as the folder's README does it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mini_benchmarks import block_sockets, keep_prepared_copies_in

from codiemb_pipeline.benchmarks.registry import BENCHMARKS
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.evaluate.run import evaluate_models
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params import EncoderParams, EvaluateParams

HUB = Path(__file__).parents[3] / "shared" / "data" / "hub"
NAMES = ("LCQMC", "STSB", "AFQMC", "QBQTC")

pytestmark = [
    pytest.mark.skipif(not HUB.is_dir(), reason=f"no folder {HUB} with real benchmarks"),
    pytest.mark.slow,
]


class Vectors:
    """Knows the vector of every text; what mteb needs of an encoder and nothing of ours."""

    def __init__(self, vectors: dict[str, np.ndarray]) -> None:
        from mteb.models.model_meta import ModelMeta

        self._vectors = vectors
        self.mteb_model_meta = ModelMeta.create_empty(overwrites={"name": "by/hand", "revision": "1"})

    def encode(self, inputs: Any, **_: Any) -> np.ndarray:
        return np.stack([self._vectors[text] for batch in inputs for text in batch["text"]])

    def similarity(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return first @ second.T

    def similarity_pairwise(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return (first * second).sum(axis=1)


def score_by_hand(name: str, encoder: Any) -> tuple[float, int]:
    """Return mteb's score of the pinned split, and how many pairs it has."""
    import mteb

    split = BENCHMARKS[name].split
    task = mteb.get_task(name)
    dataset = task.metadata.dataset
    update = {"dataset": {**dataset, "path": str(HUB / dataset["path"])}}
    task.metadata = task.metadata.model_copy(update=update)
    task.load_data()
    pairs = task.dataset[split]
    texts = sorted({*pairs["sentence1"], *pairs["sentence2"]})
    prefix = encoder.prompts.prefix("sts", "query", name)
    vectors = encode_texts(encoder, texts, prefix=prefix, tokens_per_chunk=8192).numpy()
    task.filter_eval_splits([split])
    found = mteb.evaluate(Vectors(dict(zip(texts, vectors, strict=True))), task, cache=None, show_progress_bar=False,
                          co2_tracker=False)  # fmt: skip
    return found.task_results[0].scores[split][0]["cosine_spearman"], len(pairs)


def test_the_real_tasks_score_as_mteb_by_hand_on_the_same_vectors(
    tmp_path: Path, tiny_encoder_params: EncoderParams, tiny_encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """The tiny encoder knows no Chinese: it tells texts apart by length, letters and digits; enough to compare by."""
    block_sockets(monkeypatch)
    keep_prepared_copies_in(tmp_path / "prepared", monkeypatch)
    entries = {name: {"type": "mteb", "path": str(HUB / BENCHMARKS[name].hub_id)} for name in NAMES}
    values = {
        "models": ["base"],
        "tokens_per_chunk": 8192,
        "precision": "fp32",
        "processes": 1,
        "benchmarks": entries,
        "geometry": None,
    }
    settings = EvaluateParams.parse(values, "evaluate")
    models = {"base": tiny_encoder_folder}
    evaluate_models(settings, tiny_encoder_params, models, tmp_path / "none", tmp_path / "cache", tmp_path / "out")
    summary = read_json(tmp_path / "out" / "summary.json")
    encoder = load_encoder(tiny_encoder_params)
    for name in NAMES:
        expected, pairs = score_by_hand(name, encoder)
        assert summary["models"]["base"][name] == pytest.approx(expected, abs=1e-6)
        assert abs(expected) > 1e-3
        assert summary["benchmarks"][name]["size"] == {"pairs": pairs} == BENCHMARKS[name].size
        assert summary["benchmarks"][name]["full"]
    assert summary["paper"]["tasks"] == {"retrieval": 0, "sts": 4, "all": 4}
