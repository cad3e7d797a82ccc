"""The evaluate stage: selects models, evaluates each on every benchmark and writes the files of ``artifacts``."""

import logging
from pathlib import Path
from typing import Any

from codiemb_pipeline.artifacts.evaluate import (
    DIGITS,
    BenchmarkFacts,
    BenchmarkResult,
    EvaluationSummary,
    PaperMeans,
    write_gold,
    write_items,
)
from codiemb_pipeline.artifacts.merge import MergeSummary, merged_name
from codiemb_pipeline.artifacts.train import TrainedRun
from codiemb_pipeline.benchmarks.registry import BENCHMARKS, names_of
from codiemb_pipeline.errors import InputError, PipelineError, nearest
from codiemb_pipeline.evaluate.benchmark import Benchmark, HubBenchmark, read_benchmarks
from codiemb_pipeline.evaluate.cache import ResultCache
from codiemb_pipeline.evaluate.evaluator import Evaluator
from codiemb_pipeline.evaluate.leaderboard import write_entries
from codiemb_pipeline.evaluate.parallel import evaluate_in_processes
from codiemb_pipeline.params.encoder import EncoderParams
from codiemb_pipeline.params.evaluate import EvaluateParams

logger = logging.getLogger(__name__)


def select_models(wanted: list[str], base: Path, runs: list[str], checkpoints: Path, merged: Path) -> dict[str, Path]:
    """Return the folders of the wanted models by name: base first, then checkpoints by step, then merged models.

    Args:
        wanted: ``base``, ``last``, ``checkpoints``, ``merged``, or a model's own name.
        base: folder of the base encoder.
        runs: names of the runs.
        checkpoints: what ``train`` wrote: a folder per run.
        merged: what ``merge`` wrote: a folder per recipe.

    Raises:
        InputError: no model of these runs has that name.
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
    """Evaluate every model on every benchmark.

    Args:
        params: the ``evaluate`` section.
        encoder_params: the ``encoder`` section, the same for all models.
        models: encoder folders by name.
        sources: what ``ingest`` wrote.
        work: folder of work in progress; ``results`` keeps finished results between runs and after a crash.
        out: receives the files of ``artifacts.evaluate``, and for the paper's benchmarks
            ``mteb/<model>/<benchmark>.json`` in mteb's format.

    Raises:
        InputError: a benchmark has no data; raised before anything is encoded.
        PipelineError: a benchmark failed; names model and benchmark. Finished results are kept.
    """
    store = ResultCache(work / "results")
    evaluator = Evaluator(params, encoder_params, store)
    benchmarks = read_benchmarks(params, sources, store)
    pending = _open_pending(benchmarks, models, evaluator)
    failed = evaluate_in_processes(params, encoder_params, models, sources, work, pending, evaluator)
    scores: dict[str, dict[str, float]] = {}
    for name, folder in models.items():
        scores[name] = {}
        for benchmark in benchmarks:
            if (name, benchmark.name) in failed:
                continue
            try:
                result = evaluator.evaluate(name, folder, benchmark)
            except PipelineError as error:  # go on: the other results go to the cache
                failed[name, benchmark.name] = str(error)
                continue
            _write_result(out, name, benchmark.name, result)
            scores[name][benchmark.name] = result["main_score"]
        logger.info("%s: %s", name, ", ".join(f"{key} {score:.4f}" for key, score in scores[name].items()))
    if failed:
        more = "all other results are kept; run evaluate again to compute only these"
        raise PipelineError("\n".join([*failed.values(), more]))
    if params.geometry is not None:
        evaluator.geometry(models, benchmarks, params.geometry).write(out / "geometry.json")
    _write_summary(out, scores, benchmarks)


def _write_summary(out: Path, scores: dict[str, dict[str, float]], benchmarks: list[Benchmark]) -> None:
    for benchmark in benchmarks:
        if benchmark.gold is not None:
            write_gold(out, benchmark.name, benchmark.gold)
    paper = paper_means(scores, [entry.name for entry in benchmarks if isinstance(entry, HubBenchmark)])
    EvaluationSummary(
        models=scores,
        benchmarks={entry.name: BenchmarkFacts(**entry.facts, size=entry.size) for entry in benchmarks},
        model_order=list(scores),
        benchmark_order=[entry.name for entry in benchmarks],
        **({"paper": paper} if paper else {}),
    ).write(out / "summary.json")


def paper_means(scores: dict[str, dict[str, float]], evaluated: list[str]) -> PaperMeans | None:
    """Return the means of every model over ``evaluated``, names of the paper's benchmarks; ``None`` without any.

    Args:
        scores: main score by model and benchmark.
        evaluated: names of the benchmarks of type ``mteb``.
    """
    groups = {"retrieval": names_of("retrieval"), "sts": names_of("sts"), "all": list(BENCHMARKS)}
    present = {kind: [name for name in names if name in evaluated] for kind, names in groups.items()}
    if not present["all"]:
        return None

    def means(row: dict[str, float]) -> dict[str, float]:
        return {
            kind: round(sum(row[n] for n in names) / len(names), DIGITS) for kind, names in present.items() if names
        }

    return PaperMeans(
        tasks={kind: len(names) for kind, names in present.items()},
        of={kind: len(names) for kind, names in groups.items()},
        means={model: means(row) for model, row in scores.items()},
    )


def _open_pending(
    benchmarks: list[Benchmark], models: dict[str, Path], evaluator: Evaluator
) -> list[tuple[str, Benchmark]]:
    """Return model and benchmark of each missing result, after opening the data of those benchmarks.

    Local folders are opened before anything is requested from the hub.
    """
    pending = [
        (name, entry) for entry in benchmarks for name, folder in models.items() if not evaluator.holds(folder, entry)
    ]
    wanted = {entry.name: entry for _, entry in pending if isinstance(entry, HubBenchmark)}.values()
    for benchmark in sorted(wanted, key=lambda entry: entry.location.folder is None):
        _ = benchmark.rows
    return pending


def _write_result(out: Path, model: str, benchmark: str, result: dict[str, Any]) -> None:
    items, entry = result.pop("items"), result.pop("mteb_format", None)
    BenchmarkResult(model=model, **result).write(out / "results" / model / f"{benchmark}.json")
    write_items(out, model, benchmark, items)
    if entry is not None:
        write_entries(out / "mteb" / model, model, entry)
