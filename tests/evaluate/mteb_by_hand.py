"""Similarity benchmarks of the hub's layout judged twice: along our path, and by mteb on the vectors that path made.

The vectors are those of our path, not made anew: chunks of other texts round otherwise, and where cosines nearly tie
that changes ranks by as much as 1e-6 of a correlation. A few of them are made anew, to see that they are the texts'.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from evaluate_params import evaluate_params

from codiemb_pipeline.benchmarks.registry import BENCHMARKS
from codiemb_pipeline.encoder.checkpoint import base_folder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.evaluate.run import evaluate_models
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params import EncoderParams

TOKENS = 8192
SAMPLES = 16

Call = tuple[list[str], np.ndarray]


class Vectors:
    """Knows the texts and vectors of the calls to come; what mteb needs of an encoder and nothing of ours."""

    def __init__(self, calls: Sequence[Call]) -> None:
        from mteb.models.model_meta import ModelMeta

        self._calls = iter(calls)
        self.mteb_model_meta = ModelMeta.create_empty(overwrites={"name": "by/hand", "revision": "1"})

    def encode(self, inputs: Any, **_: Any) -> np.ndarray:
        texts, vectors = next(self._calls)
        assert [text for batch in inputs for text in batch["text"]] == texts
        return vectors

    def similarity(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return first @ second.T

    def similarity_pairwise(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return (first * second).sum(axis=1)


def task_at(name: str, hub: Path) -> Any:
    """Return mteb's task, its pinned split alone, reading from a folder in place of the hub."""
    import mteb

    task = mteb.get_task(name, eval_splits=[BENCHMARKS[name].split])
    dataset = {**task.metadata.dataset, "path": str(hub / BENCHMARKS[name].hub_id)}
    task.metadata = task.metadata.model_copy(update={"dataset": dataset})
    return task


def score_by_hand(name: str, hub: Path, encoder: Encoder, calls: Sequence[Call]) -> tuple[float, int]:
    """Return mteb's score of the pinned split on the vectors of ``calls``, and how many pairs it has."""
    import mteb

    prefix = encoder.prompts.prefix("sts", "query", name)
    for texts, vectors in calls:
        some = np.linspace(0, len(texts) - 1, SAMPLES).astype(int)
        again = encode_texts(encoder, [texts[place] for place in some], prefix=prefix, tokens_per_chunk=TOKENS)
        np.testing.assert_allclose(again.numpy(), vectors[some], atol=1e-5)
    options: dict[str, Any] = {"cache": None, "show_progress_bar": False, "co2_tracker": False}
    found = mteb.evaluate(Vectors(calls), task_at(name, hub), **options)
    return found.task_results[0].scores[BENCHMARKS[name].split][0]["cosine_spearman"], len(calls[0][0])


@contextmanager
def vectors_kept() -> Iterator[dict[str, list[Call]]]:
    """Keep texts and vectors of every call by which mteb has our encoder encode, by benchmark."""
    from codiemb_pipeline.evaluate.mteb_encoder import MtebEncoder

    kept: dict[str, list[Call]] = {}
    encode = MtebEncoder.encode

    def keep(self: MtebEncoder, inputs: Any, **options: Any) -> np.ndarray:
        vectors = encode(self, inputs, **options)
        texts = [text for batch in inputs for text in batch["text"]]
        kept.setdefault(options["task_metadata"].name, []).append((texts, vectors))
        return vectors

    MtebEncoder.encode = keep
    try:
        yield kept
    finally:
        MtebEncoder.encode = encode


def evaluate_along_our_path(
    names: Sequence[str], hub: Path, params: EncoderParams, root: Path
) -> tuple[dict[str, Any], dict[str, list[Call]]]:
    """Evaluate the base encoder; return ``summary.json`` and what was encoded. ``root`` receives results and cache."""
    entries = {name: {"type": "mteb", "path": str(hub / BENCHMARKS[name].hub_id)} for name in names}
    settings = evaluate_params(entries, tokens_per_chunk=TOKENS)
    with vectors_kept() as calls:
        evaluate_models(settings, params, {"base": base_folder(params)}, root / "none", root / "cache", root / "out")
    return read_json(root / "out" / "summary.json"), calls
