"""One model on one benchmark, through mteb: our encoder behind its protocol, and the score of every item.

In retrieval an item is a query, scored by its nDCG@10; in similarity it is a pair, scored by the model's cosine. Items
keep the benchmark's order.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets
import mteb
import numpy as np
from mteb.models import SearchEncoderWrapper
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta
from mteb.types import PromptType

from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.embedding_store import EmbeddingStore, open_store
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.evaluate.benchmark import Benchmark, HubBenchmark
from codiemb_pipeline.evaluate.leaderboard import name_for_mteb
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params.encoder import EncoderParams

QUERY_METRIC = "ndcg_cut_10"
"""trec_eval's name."""
SCORES_AT_ONCE = 2**28
"""Similarities held at a time while a corpus is searched: 1 GiB."""
DOCUMENTS_AT_ONCE = 50_000
"""mteb's own limit of documents encoded at a time."""


class MtebEncoder(AbsEncoder):
    """A model of ours for mteb; weights are loaded on first use, and equal texts are encoded once."""

    def __init__(
        self,
        name: str,
        folder: Path | None,
        params: EncoderParams,
        *,
        revision: str,
        tokens_per_chunk: int,
        bf16: bool = False,
        embeddings: Path | None = None,
        store_gigabytes: float = 0,
    ) -> None:
        self._name, self._folder, self._params = name, folder, params
        self._how = {"tokens_per_chunk": tokens_per_chunk, "bf16": bf16}
        self._store = (embeddings, store_gigabytes)
        overwrites = {"name": name_for_mteb(name), "revision": revision, "loader": None}
        self.mteb_model_meta = ModelMeta.create_empty(overwrites=overwrites)

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder, loaded on first use."""
        return load_encoder(self._params, self._folder)

    @cached_property
    def known(self) -> EmbeddingStore | None:
        """The stored embeddings of the encoder."""
        return open_store(self.encoder, *self._store, bf16=self._how["bf16"])

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **_: Any,
    ) -> np.ndarray:
        """Return the embeddings of all texts of a loader, float32 (n, D), with the benchmark's prompts."""
        texts = [text for batch in inputs for text in batch["text"]]
        task, benchmark = "sts" if task_metadata.type == "STS" else "ir", task_metadata.name
        role = "document" if task == "ir" and prompt_type == PromptType.document else "query"
        prefix = self.encoder.prompts.prefix(task, role, benchmark)
        label = f"{self._name} {benchmark}"
        return encode_texts(self.encoder, texts, prefix=prefix, **self._how, progress=label, known=self.known).numpy()


def score_items(model: MtebEncoder, benchmark: Benchmark) -> tuple[Any, list[float]]:
    """Return mteb's result of a model on a benchmark, and the score of each item."""
    datasets.disable_progress_bars()  # it would draw one for every column of a local table
    task = benchmark.make_task()
    options: dict[str, Any] = {"cache": None, "show_progress_bar": False, "co2_tracker": False}
    if benchmark.kind == "sts":
        with TemporaryDirectory() as predictions:
            found = mteb.evaluate(model, task, **options, prediction_folder=predictions)
            items = read_json(Path(predictions) / task.prediction_file_name)["default"][benchmark.split]
        return found.task_results[0], items["cosine_scores"]
    scores = _watch_queries(task)
    searcher = model
    if isinstance(benchmark, HubBenchmark):  # a corpus in chunks that bound the similarities in memory
        documents = max(1, SCORES_AT_ONCE // benchmark.size["queries"])
        searcher = SearchEncoderWrapper(model, corpus_chunk_size=min(DOCUMENTS_AT_ONCE, documents))
    found = mteb.evaluate(searcher, task, **options)
    return found.task_results[0], [scores[query] for query in benchmark.query_ids()]


def _watch_queries(task: Any) -> dict[str, float]:
    """Return a dictionary that scoring the retrieval ``task`` fills with the nDCG@10 of each query.

    It uses mteb's hook for a task's own scores. The alternative, mteb's file of 1,000 documents per query, takes
    gigabytes for T2Retrieval.
    """
    found: dict[str, float] = {}
    own_scores = task.task_specific_scores

    def keep(scores: Mapping[str, Mapping[str, float]], *rest: Any, **named: Any) -> dict[str, float]:
        found.update({query: float(row[QUERY_METRIC]) for query, row in scores.items()})
        return own_scores(scores, *rest, **named)

    task.task_specific_scores = keep
    return found
