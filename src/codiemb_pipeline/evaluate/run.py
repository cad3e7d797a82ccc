"""The evaluate stage: which models, on what, each result from the cache or from mteb. A missing result is an error."""

from __future__ import annotations

import hashlib
import logging
import math
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from codiemb_pipeline.benchmarks.registry import METRICS
from codiemb_pipeline.encoder.checkpoint import load_encoder, weights_digest
from codiemb_pipeline.encoder.stamp import embedding_settings
from codiemb_pipeline.errors import InputError, PipelineError, nearest
from codiemb_pipeline.evaluate.benchmark import Benchmark
from codiemb_pipeline.evaluate.cache import ResultCache
from codiemb_pipeline.evaluate.hub_tasks import HubBenchmark, searching
from codiemb_pipeline.evaluate.items import read_cosines, rounded, watch_queries
from codiemb_pipeline.evaluate.leaderboard import model_entry, task_entry, write_entries
from codiemb_pipeline.evaluate.local_tasks import read_benchmark
from codiemb_pipeline.evaluate.means import paper_means
from codiemb_pipeline.evaluate.space import POSITIVE_PAIRS, TOKEN_TEXTS, Probe, make_probe, measure_space
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.params.encoder import EncoderParams
from codiemb_pipeline.params.evaluate import EvaluateParams, GeometryParams, MtebBenchmark

logger = logging.getLogger(__name__)

SHOWN_SCORES = ("ndcg_at_1", "ndcg_at_3", "ndcg_at_5", "ndcg_at_10", "ndcg_at_100", "map_at_10", "mrr_at_10",
                "recall_at_1", "recall_at_10", "recall_at_100", "cosine_spearman", "cosine_pearson")  # fmt: skip


def select_models(wanted: list[str], base: Path, runs: list[str], checkpoints: Path, merged: Path) -> dict[str, Path]:
    """Return the folders of the models asked for, by name: base first, checkpoints by step, merged ones last.

    Args:
        wanted: ``base``, ``last``, ``checkpoints``, ``merged``, or a model's own name.
        base: folder of the base encoder.
        runs: names of the runs.
        checkpoints: what ``train`` wrote: a folder per run.
        merged: what ``merge`` wrote: a folder per recipe.

    Raises:
        InputError: a name is no model of these runs.
    """
    steps = {run: [f"{run}/{entry['name']}" for entry in _checkpoints_of(checkpoints / run)] for run in runs}
    known = {"base": base, **{name: checkpoints / name for names in steps.values() for name in names}}
    recipes = read_json(merged / "summary.json")["order"]
    known |= {f"merged-{recipe}": merged / recipe for recipe in recipes}
    groups = {
        "last": [names[-1] for names in steps.values()],
        "checkpoints": [name for names in steps.values() for name in names],
        "merged": [f"merged-{recipe}" for recipe in recipes],
    }
    chosen: set[str] = set()
    for name in wanted:
        if name not in known and name not in groups:
            raise InputError(f"params.yaml: evaluate.models: no model {name!r}{nearest(name, [*known, *groups])}")
        chosen |= set(groups.get(name, [name]))
    return {name: folder for name, folder in known.items() if name in chosen}


def _checkpoints_of(run: Path) -> list[dict[str, Any]]:
    return read_json(run / "run.json")["checkpoints"]


def evaluate_models(
    params: EvaluateParams,
    encoder_params: EncoderParams,
    models: dict[str, Path],
    sources: Path,
    cache: Path,
    out: Path,
) -> None:
    """Judge every model on every benchmark.

    Args:
        params: the ``evaluate`` section.
        encoder_params: the ``encoder`` section, the same for all models.
        models: encoder folders by name.
        sources: what ``ingest`` wrote.
        cache: finished results, kept between runs and after a crash.
        out: receives ``results/<model>/<benchmark>.json``, ``items/`` likewise with the number of each query or pair,
            ``gold/<benchmark>.json``, ``summary.json`` and ``geometry.json``; of the paper's benchmarks also
            ``mteb/<model>/<benchmark>.json`` as mteb writes it.

    Raises:
        InputError: a benchmark has no data; before anything is encoded.
        PipelineError: a benchmark failed; names model and benchmark. Results that were finished are kept.
    """
    store = ResultCache(cache)
    results = _Judge(params, encoder_params, store)
    benchmarks = _open_benchmarks(params, sources, store, results, models)
    summary: dict[str, dict[str, float]] = {}
    failures: list[str] = []
    for name, folder in models.items():
        summary[name] = {}
        for benchmark in benchmarks:
            try:
                result = results.judge(name, folder, benchmark)
            except PipelineError as error:  # the others are still worth having: they go to the cache
                failures.append(str(error))
                continue
            _write_result(out, name, benchmark.name, result)
            summary[name][benchmark.name] = result["main_score"]
        logger.info("%s: %s", name, ", ".join(f"{key} {score:.4f}" for key, score in summary[name].items()))
    if failures:
        raise PipelineError("\n".join([*failures, "all other results are kept; run evaluate again for these alone"]))
    if params.geometry is not None:
        write_json(out / "geometry.json", results.geometry(models, benchmarks, params.geometry))
    for benchmark in benchmarks:
        if (gold := benchmark.gold()) is not None:
            write_json(out / "gold" / f"{benchmark.name}.json", gold)
    facts = {entry.name: {**entry.facts, "size": entry.size} for entry in benchmarks}
    order = {"model_order": list(models), "benchmark_order": list(facts)}
    paper = paper_means(summary, [entry.name for entry in benchmarks if isinstance(entry, HubBenchmark)])
    write_json(
        out / "summary.json",
        {"models": summary, "benchmarks": facts, **order, **({"paper": paper} if paper else {})},
    )


def _open_benchmarks(
    params: EvaluateParams, sources: Path, cache: ResultCache, results: _Judge, models: dict[str, Path]
) -> list[Benchmark]:
    """Return the benchmarks in the order of params.yaml, the data of those that are to be run within reach.

    Folders are looked at before anything is asked of the hub.
    """
    benchmarks: list[Benchmark] = [
        HubBenchmark(name, entry, cache) if isinstance(entry, MtebBenchmark) else read_benchmark(name, entry, sources)
        for name, entry in params.benchmarks.items()
    ]
    hub = [entry for entry in benchmarks if isinstance(entry, HubBenchmark)]
    pending = [entry for entry in hub if not all(results.holds(folder, entry) for folder in models.values())]
    for benchmark in sorted(pending, key=lambda entry: entry.place.folder is None):
        benchmark.open()
    return benchmarks


def _write_result(out: Path, model: str, benchmark: str, result: dict[str, Any]) -> None:
    items, entry = result.pop("items"), result.pop("mteb_format", None)
    write_json(out / "results" / model / f"{benchmark}.json", {"model": model, **result})
    write_json(out / "items" / model / f"{benchmark}.json", items)
    if entry is not None:
        write_entries(out / "mteb" / model, model, entry)


class _Judge:
    """Takes results from the cache, or makes them; loads a model at most once, and only when something is missing."""

    def __init__(self, params: EvaluateParams, encoder_params: EncoderParams, cache: ResultCache) -> None:
        self._params, self._encoder_params, self._cache = params, encoder_params, cache
        self._digests: dict[Path, str] = {}
        self._loaded: tuple[str, Any] | None = None

    def judge(self, name: str, folder: Path, benchmark: Benchmark) -> dict[str, Any]:
        """Return the result of one model on one benchmark."""
        return self._cache.get(self._key(folder, benchmark), lambda: self._run(name, folder, benchmark))

    def holds(self, folder: Path, benchmark: Benchmark) -> bool:
        """Return whether the result is finished."""
        return self._cache.holds(self._key(folder, benchmark))

    def geometry(self, models: dict[str, Path], benchmarks: list[Benchmark], params: GeometryParams) -> dict[str, Any]:
        """Return the measures of every model's space."""
        settings = {"geometry": params.model_dump(), "data": [entry.revision for entry in benchmarks]}
        probe = self._probe(benchmarks, params, settings)
        measures = {
            name: self._cache.get(
                {**self._model_key(folder), **settings}, lambda name=name, folder=folder: self._measure(folder, probe)
            )
            for name, folder in models.items()
        }
        counts = {"texts": len(probe.texts), "token_texts": min(TOKEN_TEXTS, len(probe.texts))}
        dimension = next(iter(measures.values()))["dimension"] if measures else None
        return {**counts, "positive_pairs": len(probe.pairs), "dimension": dimension, "models": measures}

    def _probe(self, benchmarks: list[Benchmark], params: GeometryParams, settings: dict[str, Any]) -> Probe:
        def draw() -> dict[str, Any]:
            drawn = make_probe(benchmarks, params)
            return {"texts": drawn.texts, "pairs": [list(pair) for pair in drawn.pairs]}

        found = self._cache.get({"probe": POSITIVE_PAIRS, **settings}, draw)
        return Probe(found["texts"], [(first, second) for first, second in found["pairs"]])

    def _key(self, folder: Path, benchmark: Benchmark) -> dict[str, Any]:
        key = {**self._model_key(folder), "benchmark": benchmark.name, "definition": benchmark.definition}
        return key | {"data": benchmark.revision, "mteb": version("mteb")}

    def _model_key(self, folder: Path) -> dict[str, Any]:
        if folder not in self._digests:
            self._digests[folder] = weights_digest(folder)
        settings = dict(embedding_settings(self._encoder_params))
        settings["files"] = [
            hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted([*folder.glob("token*"), *folder.glob("config.json")])
        ]
        return {"weights": self._digests[folder], **settings}

    def _measure(self, folder: Path, probe: Probe) -> dict[str, Any]:
        encoder = load_encoder(self._encoder_params, folder)
        measures = measure_space(encoder, probe, tokens_per_chunk=self._params.tokens_per_chunk)
        rounded = {name: round(value, 6) if isinstance(value, float) else value for name, value in measures.items()}
        return {**rounded, "dimension": encoder.model.output_width}

    def _run(self, name: str, folder: Path, benchmark: Benchmark) -> dict[str, Any]:
        model = self._mteb_encoder(name, folder)
        try:
            found, items = _score(model, benchmark)
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
            "main_score": round(float(scores[metric]), 6),
            "scores": {key: round(float(scores[key]), 6) for key in SHOWN_SCORES if key in scores},
            "size": benchmark.size,
            "data_revision": benchmark.revision,
            "weights_sha256": self._digests[folder],
            "mteb": version("mteb"),
            "items": items,
        }
        if isinstance(benchmark, HubBenchmark):
            meta = model_entry(model, model.encoder, self._encoder_params)
            result["mteb_format"] = {"task": task_entry(found), "model": meta}
        return result

    def _mteb_encoder(self, name: str, folder: Path) -> Any:
        from codiemb_pipeline.evaluate.mteb_encoder import MtebEncoder

        if self._loaded is None or self._loaded[0] != name:
            settings = {"revision": self._digests[folder], "tokens_per_chunk": self._params.tokens_per_chunk}
            self._loaded = (name, MtebEncoder(name, folder, self._encoder_params, **settings))
        return self._loaded[1]


def _score(model: Any, benchmark: Benchmark) -> tuple[Any, list[float]]:
    """Return mteb's result of a model on a benchmark, and the number of each item."""
    import datasets  # both take seconds, and are not needed when everything is in the cache
    import mteb

    datasets.disable_progress_bars()  # it draws one for every column of a local table
    task = benchmark.make_task()
    options: dict[str, Any] = {"cache": None, "show_progress_bar": False, "co2_tracker": False}
    if benchmark.kind == "sts":
        with TemporaryDirectory() as predictions:
            found = mteb.evaluate(model, task, **options, prediction_folder=predictions)
            items = read_cosines(Path(predictions) / task.prediction_file_name, benchmark.split)
        return found.task_results[0], items
    numbers = watch_queries(task)
    searcher = searching(model, benchmark) if isinstance(benchmark, HubBenchmark) else model
    found = mteb.evaluate(searcher, task, **options)
    return found.task_results[0], rounded([numbers[query] for query in benchmark.query_ids()])
