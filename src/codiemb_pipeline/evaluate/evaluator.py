"""Evaluates one model on one benchmark, and measures its embedding space; both from the cache where possible."""

import math
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from codiemb_pipeline.artifacts.evaluate import DIGITS, EmbeddingStats, Geometry
from codiemb_pipeline.benchmarks.registry import METRICS
from codiemb_pipeline.encoder.checkpoint import files_digest, load_encoder, weights_digest
from codiemb_pipeline.encoder.compatibility import embedding_settings
from codiemb_pipeline.encoder.embedding_store import open_store
from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.evaluate.benchmark import Benchmark, HubBenchmark
from codiemb_pipeline.evaluate.cache import ResultCache
from codiemb_pipeline.evaluate.embedding_stats import POSITIVE_PAIRS, TOKEN_TEXTS, Probe, make_probe, measure_embeddings
from codiemb_pipeline.evaluate.leaderboard import model_entry, task_entry
from codiemb_pipeline.params.encoder import EncoderParams
from codiemb_pipeline.params.evaluate import EvaluateParams, GeometryParams

SHOWN_SCORES = ("ndcg_at_1", "ndcg_at_3", "ndcg_at_5", "ndcg_at_10", "ndcg_at_100", "map_at_10", "mrr_at_10",
                "recall_at_1", "recall_at_10", "recall_at_100", "cosine_spearman", "cosine_pearson")  # fmt: skip


@dataclass
class Evaluator:
    """Returns results from the cache, or computes them; a model is loaded only then, and the last one stays loaded.

    ``cache`` keeps finished results; ``digests`` are known hashes of models' weights, by folder; ``embeddings`` is the
    folder of the embedding store.
    """

    params: EvaluateParams
    encoder_params: EncoderParams
    cache: ResultCache
    digests: dict[Path, str] = field(default_factory=dict)
    embeddings: Path | None = None
    _loaded: tuple[str, Any] | None = None

    def evaluate(self, name: str, folder: Path, benchmark: Benchmark) -> dict[str, Any]:
        """Return the result of one model on one benchmark.

        Raises:
            PipelineError: the evaluation failed; names model and benchmark.
        """
        return self.cache.get(self.key(folder, benchmark), lambda: self._run(name, folder, benchmark))

    def holds(self, folder: Path, benchmark: Benchmark) -> bool:
        """Return whether the result is in the cache."""
        return self.cache.holds(self.key(folder, benchmark))

    def digest(self, folder: Path) -> str:
        """Return the hash of a model's weights, computed once."""
        if folder not in self.digests:
            self.digests[folder] = weights_digest(folder)
        return self.digests[folder]

    def geometry(self, models: dict[str, Path], benchmarks: list[Benchmark], params: GeometryParams) -> Geometry:
        """Return the measures of every model's embedding space."""
        settings = {"geometry": params.model_dump(), "data": [entry.revision for entry in benchmarks]}
        drawn = self.cache.get({"probe": POSITIVE_PAIRS, **settings}, lambda: asdict(make_probe(benchmarks, params)))
        probe = Probe(**drawn)
        measures = {}
        for name, folder in models.items():
            key = {**self._model_key(folder), **settings}
            found = self.cache.get(key, lambda folder=folder: self._measure(folder, probe))
            measures[name] = EmbeddingStats(**found)
        return Geometry(
            texts=len(probe.texts),
            token_texts=min(TOKEN_TEXTS, len(probe.texts)),
            positive_pairs=len(probe.pairs),
            dimension=next((stats.dimension for stats in measures.values()), None),
            models=measures,
        )

    def key(self, folder: Path, benchmark: Benchmark) -> dict[str, Any]:
        """Return everything that the result of a model on a benchmark depends on."""
        key = {**self._model_key(folder), "benchmark": benchmark.name, "definition": benchmark.definition}
        return key | {"precision": self.params.precision, "data": benchmark.revision, "mteb": version("mteb")}

    def _model_key(self, folder: Path) -> dict[str, Any]:
        settings = embedding_settings(self.encoder_params)
        return {**settings, "weights": self.digest(folder), "files": files_digest(folder)}

    def _measure(self, folder: Path, probe: Probe) -> dict[str, Any]:
        encoder = load_encoder(self.encoder_params, folder)
        known = open_store(encoder, self.embeddings, self.params.store_gigabytes)
        measures = measure_embeddings(encoder, probe, tokens_per_chunk=self.params.tokens_per_chunk, known=known)
        rounded = {key: round(value, DIGITS) if isinstance(value, float) else value for key, value in measures.items()}
        return {**rounded, "dimension": encoder.model.output_width}

    def _run(self, name: str, folder: Path, benchmark: Benchmark) -> dict[str, Any]:
        from codiemb_pipeline.evaluate.mteb_encoder import MtebEncoder, score_items  # seconds; the cache needs no mteb

        if self._loaded is None or self._loaded[0] != name:
            options = {"tokens_per_chunk": self.params.tokens_per_chunk, "bf16": self.params.precision == "bf16"}
            options |= {"embeddings": self.embeddings, "store_gigabytes": self.params.store_gigabytes}
            encoder = MtebEncoder(name, folder, self.encoder_params, revision=self.digest(folder), **options)
            self._loaded = (name, encoder)
        model = self._loaded[1]
        try:
            found, items = score_items(model, benchmark)
            scores = found.scores[benchmark.split][0]
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            raise PipelineError(f"evaluation of {name} on {benchmark.name} failed: {reason}") from error
        metric = METRICS[benchmark.kind]
        if not math.isfinite(float(scores[metric])):
            raise PipelineError(f"evaluation of {name} on {benchmark.name} failed: {metric} is {scores[metric]}")
        result = {
            "benchmark": benchmark.name,
            **benchmark.facts,
            "main_score": round(float(scores[metric]), DIGITS),
            "scores": {key: round(float(scores[key]), DIGITS) for key in SHOWN_SCORES if key in scores},
            "size": benchmark.size,
            "data_revision": benchmark.revision,
            "weights_sha256": self.digest(folder),
            "mteb": version("mteb"),
            "precision": self.params.precision,
            "items": items,
        }
        if isinstance(benchmark, HubBenchmark):
            result["mteb_format"] = {"task": task_entry(found), "model": model_entry(model, self.encoder_params)}
        return result
