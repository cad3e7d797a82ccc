"""The evaluate stage: selects models, evaluates each on every benchmark and writes the files of ``artifacts``.

With several processes on this machine, a job is one model on one benchmark. Benchmarks with the most texts come first,
so that no process starts a long job at the end. Results go into the cache. For each finished job a process also writes
``finished/<job>.json``, with the reason if the job failed.
"""

import logging
import shutil
import traceback
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
from codiemb_pipeline.distributed import take_own_gpu
from codiemb_pipeline.encoder.embedding_store import embeddings_folder
from codiemb_pipeline.errors import InputError, PipelineError, nearest
from codiemb_pipeline.evaluate.benchmark import Benchmark, HubBenchmark, read_benchmarks
from codiemb_pipeline.evaluate.cache import ResultCache
from codiemb_pipeline.evaluate.evaluator import Evaluator
from codiemb_pipeline.evaluate.leaderboard import write_entries
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.launch.torchrun import Jobs, Work, count_processes, run_here
from codiemb_pipeline.launch.work_dir import Claims, fingerprint, locked
from codiemb_pipeline.params.encoder import EncoderParams
from codiemb_pipeline.params.evaluate import EvaluateParams
from codiemb_pipeline.progress import ProgressBar

logger = logging.getLogger(__name__)

CONFIG, FINISHED, CLAIMS = "resolved.json", "finished", "claims"
TEXTS = {"queries": 1, "documents": 1, "pairs": 2}


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
    steps = [[f"{run}/{entry.name}" for entry in TrainedRun.of(checkpoints / run).checkpoints] for run in runs]
    trained = {name: checkpoints / name for names in steps for name in names}
    recipes = {merged_name(recipe): merged / recipe for recipe in MergeSummary.read(merged / "summary.json").order}
    known = {"base": base, **trained, **recipes}
    groups = {"last": [names[-1] for names in steps], "checkpoints": list(trained), "merged": list(recipes)}
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
    evaluator = Evaluator(params, encoder_params, store, embeddings=embeddings_folder(work))
    benchmarks = read_benchmarks(params, sources, store)
    pending = _open_pending(benchmarks, models, evaluator)
    failed = _evaluate_in_processes(evaluator, models, sources, work, pending)
    scores: dict[str, dict[str, float]] = {}
    left = {(name, entry.name) for name, entry in pending if not evaluator.holds(models[name], entry)} - failed.keys()
    with ProgressBar(total=len(left), desc="evaluate", unit="results") as bar:
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
                bar.set_postfix_str(f"last {benchmark.name} with {name}", refresh=False)
                bar.update((name, benchmark.name) in left)
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
    """Return every model's means over ``evaluated``, names of the paper's benchmarks; ``None`` without any.

    ``scores`` are main scores by model and benchmark.
    """
    groups = {"retrieval": names_of("retrieval"), "sts": names_of("sts"), "all": list(BENCHMARKS)}
    present = {kind: [name for name in names if name in evaluated] for kind, names in groups.items()}
    if not present["all"]:
        return None

    def means(row: dict[str, float]) -> dict[str, float]:
        sums = {kind: sum(row[name] for name in names) for kind, names in present.items() if names}
        return {kind: round(total / len(present[kind]), DIGITS) for kind, total in sums.items()}

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


def _evaluate_in_processes(
    evaluator: Evaluator, models: dict[str, Path], sources: Path, work: Path, pending: list[tuple[str, Benchmark]]
) -> dict[tuple[str, str], str]:
    """Compute the results of ``pending``, models and benchmarks, if params ask for more than one process.

    The reasons of failed jobs are returned by model and benchmark.

    Raises:
        PipelineError: a process failed as a whole, or the same evaluation is already running.
    """
    params = evaluator.params
    keys = {(name, entry.name): fingerprint(key=evaluator.key(models[name], entry)) for name, entry in pending}
    different = {keys[name, entry.name]: (name, entry) for name, entry in reversed(pending)}  # models may be equal
    processes = min(count_processes(params.processes, "evaluate.processes"), len(different))
    if processes < 2:
        return {}
    config = {
        "evaluate": params.model_dump(mode="json"),
        "encoder": evaluator.encoder_params.model_dump(mode="json"),
        "models": {name: [str(path.absolute()), evaluator.digest(path)] for name, path in models.items()},
        "jobs": [[name, entry.name] for name, entry in longest_first(list(different.values()))],
        "sources": str(sources.absolute()),
        "work": str(work.absolute()),
    }
    decides = {**config, "evaluate": {**config["evaluate"], "processes": None, "store_gigabytes": None}, "jobs": None}
    folder = work / "evaluate" / fingerprint(**decides)
    with locked(folder, "evaluation") as lock:
        ends = _run_processes(processes, config, folder, lock)
    failed = {keys[end["model"], end["benchmark"]]: end["failed"] for end in ends if end["failed"] is not None}
    return {job: failed[key] for job, key in keys.items() if key in failed}


def _run_processes(processes: int, config: dict[str, Any], folder: Path, lock: int) -> list[dict[str, Any]]:
    """Run the jobs of ``config`` and return how each ended; if one failed, the folder is kept for its log."""
    shutil.rmtree(folder / FINISHED, ignore_errors=True)
    (folder / CLAIMS).unlink(missing_ok=True)
    write_json(folder / CONFIG, {**config, "folder": str(folder.absolute())})
    count = len(config["jobs"])
    work = Work(
        name="evaluation",
        function="codiemb_pipeline.evaluate.run:evaluate_claimed",
        config=folder / CONFIG,
        folder=folder,
        to_lower="evaluate.tokens_per_chunk or evaluate.processes",
        kept="finished results are kept; the next run makes the others",
    )

    def finished() -> list[Path]:
        return sorted((folder / FINISHED).glob("*.json"))

    run_here(processes, work, Jobs(lambda: (len(finished()), count), "results"), lock)
    ends = [read_json(path) for path in finished()]
    if len(ends) != count:
        raise PipelineError(f"evaluation: expected {count} results, found {len(ends)}; their logs: {folder / 'logs'}")
    if all(end["failed"] is None for end in ends):
        shutil.rmtree(folder)
    return ends


def longest_first(pending: list[tuple[str, Benchmark]]) -> list[tuple[str, Benchmark]]:
    """Return the jobs sorted by number of texts, most first; the sort is stable."""
    return sorted(pending, key=lambda job: -sum(TEXTS[what] * count for what, count in job[1].size.items()))


def evaluate_claimed(config: dict[str, Any]) -> None:
    """Take job after job of the evaluation that ``config`` describes until none is left, on this process's own GPU."""
    take_own_gpu()
    params = EvaluateParams.parse(config["evaluate"], "evaluate")
    store, folder = ResultCache(Path(config["work"]) / "results"), Path(config["folder"])
    models = {name: Path(place) for name, (place, _) in config["models"].items()}
    digests = {Path(place): digest for place, digest in config["models"].values()}
    encoder_params, embeddings = (
        EncoderParams.parse(config["encoder"], "encoder"),
        embeddings_folder(Path(config["work"])),
    )
    evaluator = Evaluator(params, encoder_params, store, digests, embeddings)
    benchmarks = {entry.name: entry for entry in read_benchmarks(params, Path(config["sources"]), store)}
    for number in Claims(folder / CLAIMS).take(len(config["jobs"])):
        model, benchmark = config["jobs"][number]
        end = {"model": model, "benchmark": benchmark, "failed": None}
        try:
            evaluator.evaluate(model, models[model], benchmarks[benchmark])
        except PipelineError as error:  # the other jobs go on
            if "CUDA error" in str(error.__cause__):  # no later work on this GPU would succeed
                raise
            traceback.print_exc()
            end["failed"] = str(error)
        write_json(folder / FINISHED / f"{number:06d}.json", end)
