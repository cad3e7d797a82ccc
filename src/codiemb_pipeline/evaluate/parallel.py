"""Evaluates in several processes of this machine; a job is one model on one benchmark.

Benchmarks with the most texts come first, so that no process starts a long job at the end. Results go into the cache.
For each finished job a process also writes ``finished/<job>.json``, with the reason if the job failed.
"""

import shutil
import traceback
from pathlib import Path
from typing import Any

from codiemb_pipeline.distributed import take_own_gpu
from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.evaluate.benchmark import Benchmark, read_benchmarks
from codiemb_pipeline.evaluate.cache import ResultCache
from codiemb_pipeline.evaluate.evaluator import Evaluator
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.launch.torchrun import Progress, Work, count_processes, run_here
from codiemb_pipeline.launch.work_dir import Claims, fingerprint, locked
from codiemb_pipeline.params.encoder import EncoderParams
from codiemb_pipeline.params.evaluate import EvaluateParams

CONFIG, FINISHED, CLAIMS = "resolved.json", "finished", "claims"
TEXTS = {"queries": 1, "documents": 1, "pairs": 2}


def evaluate_in_processes(
    params: EvaluateParams,
    encoder_params: EncoderParams,
    models: dict[str, Path],
    sources: Path,
    work: Path,
    pending: list[tuple[str, Benchmark]],
    evaluator: Evaluator,
) -> dict[tuple[str, str], str]:
    """Compute the results of ``pending``, models and benchmarks, if params ask for more than one process.

    Returns:
        The reasons of failed jobs, by model and benchmark.

    Raises:
        PipelineError: a process failed as a whole, or the same evaluation is already running.
    """
    keys = {(name, entry.name): fingerprint(key=evaluator.key(models[name], entry)) for name, entry in pending}
    different = {keys[name, entry.name]: (name, entry) for name, entry in reversed(pending)}  # models may be equal
    processes = min(count_processes(params.processes, "evaluate.processes"), len(different))
    if processes < 2:
        return {}
    config = {
        "evaluate": params.model_dump(mode="json"),
        "encoder": encoder_params.model_dump(mode="json"),
        "models": {name: [str(path.absolute()), evaluator.digest(path)] for name, path in models.items()},
        "jobs": [[name, entry.name] for name, entry in longest_first(list(different.values()))],
        "sources": str(sources.absolute()),
        "work": str(work.absolute()),
    }
    decides = {**config, "evaluate": {**config["evaluate"], "processes": None}, "jobs": None}
    folder = work / "evaluate" / fingerprint(**decides)
    with locked(folder, "evaluation") as lock:
        ends = _run(processes, config, folder, lock)
    failed = {keys[end["model"], end["benchmark"]]: end["failed"] for end in ends if end["failed"] is not None}
    return {job: failed[key] for job, key in keys.items() if key in failed}


def _run(processes: int, config: dict[str, Any], folder: Path, lock: int) -> list[dict[str, Any]]:
    """Run the jobs of ``config`` and return how each ended; if one failed, the folder is kept for its log."""
    shutil.rmtree(folder / FINISHED, ignore_errors=True)
    (folder / CLAIMS).unlink(missing_ok=True)
    write_json(folder / CONFIG, {**config, "folder": str(folder.absolute())})
    count = len(config["jobs"])
    run_here(processes, _work(folder), Progress(lambda: (len(_finished(folder)), count), "result"), lock)
    ends = [read_json(path) for path in _finished(folder)]
    if len(ends) != count:
        raise PipelineError(f"evaluation: expected {count} results, found {len(ends)}; their logs: {folder / 'logs'}")
    if all(end["failed"] is None for end in ends):
        shutil.rmtree(folder)
    return ends


def longest_first(pending: list[tuple[str, Benchmark]]) -> list[tuple[str, Benchmark]]:
    """Return the jobs sorted by number of texts, most first; the sort is stable."""

    def texts(entry: Benchmark) -> int:
        return sum(TEXTS[what] * count for what, count in entry.size.items())

    return sorted(pending, key=lambda job: -texts(job[1]))


def evaluate_claimed(config: dict[str, Any]) -> None:
    """Take job after job of :func:`evaluate_in_processes` until none is left, on this process's own GPU if any."""
    take_own_gpu()
    params = EvaluateParams.parse(config["evaluate"], "evaluate")
    store, folder = ResultCache(Path(config["work"]) / "results"), Path(config["folder"])
    models = {name: Path(place) for name, (place, _) in config["models"].items()}
    digests = {Path(place): digest for place, digest in config["models"].values()}
    evaluator = Evaluator(params, EncoderParams.parse(config["encoder"], "encoder"), store, digests)
    benchmarks = {entry.name: entry for entry in read_benchmarks(params, Path(config["sources"]), store)}
    for number in Claims(folder / CLAIMS).take(len(config["jobs"])):
        model, benchmark = config["jobs"][number]
        failed = None
        try:
            evaluator.evaluate(model, models[model], benchmarks[benchmark])
        except PipelineError as error:  # the other jobs go on
            if "CUDA error" in str(error.__cause__):  # no later work on this GPU would succeed
                raise
            traceback.print_exc()
            failed = str(error)
        end = {"model": model, "benchmark": benchmark, "failed": failed}
        write_json(folder / FINISHED / f"{number:06d}.json", end)


def _finished(folder: Path) -> list[Path]:
    return sorted((folder / FINISHED).glob("*.json"))


def _work(folder: Path) -> Work:
    return Work(
        name="evaluation",
        function="codiemb_pipeline.evaluate.parallel:evaluate_claimed",
        config=folder / CONFIG,
        folder=folder,
        to_lower="evaluate.tokens_per_chunk or evaluate.processes",
        kept="finished results are kept; the next run makes the others",
    )
