"""The evaluate stage: which models, on what, each result from the cache or from mteb. A missing result is an error."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from codiemb_pipeline.artifacts.merge import MergeSummary, merged_name
from codiemb_pipeline.artifacts.train import TrainedRun
from codiemb_pipeline.errors import InputError, PipelineError, nearest
from codiemb_pipeline.evaluate.benchmark import Benchmark
from codiemb_pipeline.evaluate.cache import ResultCache
from codiemb_pipeline.evaluate.hub_tasks import HubBenchmark
from codiemb_pipeline.evaluate.judge import Judge
from codiemb_pipeline.evaluate.leaderboard import write_entries
from codiemb_pipeline.evaluate.means import paper_means
from codiemb_pipeline.evaluate.share import judge_in_processes, read_benchmarks
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.params.encoder import EncoderParams
from codiemb_pipeline.params.evaluate import EvaluateParams

logger = logging.getLogger(__name__)


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
    steps = {run: [f"{run}/{entry.name}" for entry in TrainedRun.of(checkpoints / run).checkpoints] for run in runs}
    known = {"base": base, **{name: checkpoints / name for names in steps.values() for name in names}}
    recipes = {merged_name(recipe): merged / recipe for recipe in MergeSummary.read(merged / "summary.json").order}
    known |= recipes
    groups = {
        "last": [names[-1] for names in steps.values()],
        "checkpoints": [name for names in steps.values() for name in names],
        "merged": list(recipes),
    }
    chosen: set[str] = set()
    for name in wanted:
        if name not in known and name not in groups:
            raise InputError(f"params.yaml: evaluate.models: no model {name!r}{nearest(name, [*known, *groups])}")
        chosen |= set(groups.get(name, [name]))
    return {name: folder for name, folder in known.items() if name in chosen}


def evaluate_models(
    params: EvaluateParams,
    encoder_params: EncoderParams,
    models: dict[str, Path],
    sources: Path,
    work: Path,
    out: Path,
) -> None:
    """Judge every model on every benchmark.

    Args:
        params: the ``evaluate`` section.
        encoder_params: the ``encoder`` section, the same for all models.
        models: encoder folders by name.
        sources: what ``ingest`` wrote.
        work: folder of work in progress; ``results`` keeps what is finished, between runs and after a crash.
        out: receives ``results/<model>/<benchmark>.json``, ``items/`` likewise with the number of each query or pair,
            ``gold/<benchmark>.json``, ``summary.json`` and ``geometry.json``; of the paper's benchmarks also
            ``mteb/<model>/<benchmark>.json`` as mteb writes it.

    Raises:
        InputError: a benchmark has no data; before anything is encoded.
        PipelineError: a benchmark failed; names model and benchmark. Results that were finished are kept.
    """
    store = ResultCache(work / "results")
    judge = Judge(params, encoder_params, store)
    benchmarks = read_benchmarks(params, sources, store)
    pending = _open_pending(benchmarks, models, judge)
    failed = judge_in_processes(params, encoder_params, models, sources, work, pending, judge)
    summary: dict[str, dict[str, float]] = {}
    for name, folder in models.items():
        summary[name] = {}
        for benchmark in benchmarks:
            if (name, benchmark.name) in failed:
                continue
            try:
                result = judge.judge(name, folder, benchmark)
            except PipelineError as error:  # the others are still worth having: they go to the cache
                failed[name, benchmark.name] = str(error)
                continue
            _write_result(out, name, benchmark.name, result)
            summary[name][benchmark.name] = result["main_score"]
        logger.info("%s: %s", name, ", ".join(f"{key} {score:.4f}" for key, score in summary[name].items()))
    if failed:
        more = "all other results are kept; run evaluate again for these alone"
        raise PipelineError("\n".join([*failed.values(), more]))
    if params.geometry is not None:
        write_json(out / "geometry.json", judge.geometry(models, benchmarks, params.geometry))
    _write_summary(out, summary, benchmarks, list(models))


def _write_summary(
    out: Path, scores: dict[str, dict[str, float]], benchmarks: list[Benchmark], order: list[str]
) -> None:
    for benchmark in benchmarks:
        if (gold := benchmark.gold()) is not None:
            write_json(out / "gold" / f"{benchmark.name}.json", gold)
    facts = {entry.name: {**entry.facts, "size": entry.size} for entry in benchmarks}
    paper = paper_means(scores, [entry.name for entry in benchmarks if isinstance(entry, HubBenchmark)])
    summary = {"models": scores, "benchmarks": facts, "model_order": order, "benchmark_order": list(facts)}
    write_json(out / "summary.json", {**summary, **({"paper": paper} if paper else {})})


def _open_pending(benchmarks: list[Benchmark], models: dict[str, Path], judge: Judge) -> list[tuple[str, Benchmark]]:
    """Return model and benchmark of each result that is not there yet, the data of those benchmarks within reach.

    Folders are looked at before anything is asked of the hub.
    """
    pending = [
        (name, entry) for entry in benchmarks for name, folder in models.items() if not judge.holds(folder, entry)
    ]
    wanted = {entry.name: entry for _, entry in pending}.values()
    for benchmark in sorted(wanted, key=lambda entry: isinstance(entry, HubBenchmark) and entry.place.folder is None):
        benchmark.open()
    return pending


def _write_result(out: Path, model: str, benchmark: str, result: dict[str, Any]) -> None:
    items, entry = result.pop("items"), result.pop("mteb_format", None)
    write_json(out / "results" / model / f"{benchmark}.json", {"model": model, **result})
    write_json(out / "items" / model / f"{benchmark}.json", items)
    if entry is not None:
        write_entries(out / "mteb" / model, model, entry)
