"""What no parameter check can know: whether the sources' counts and this machine suffice. Asked before long stages."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from codiemb_pipeline.artifacts.assemble import SourceRange
from codiemb_pipeline.artifacts.ingest import IngestCounts
from codiemb_pipeline.benchmarks.data import pairs_of, without_ranks
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params import AssembleParams, EvaluateParams, TrainParams
from codiemb_pipeline.params.evaluate import LocalSTS, MtebBenchmark
from codiemb_pipeline.train.loop import plan_of_epoch


def check_counts(
    assemble: AssembleParams, evaluate: EvaluateParams, runs: Mapping[str, TrainParams], sources: Path
) -> None:
    """Refuse settings that what ``ingest`` wrote to ``sources`` cannot meet, whatever later stages remove.

    Raises:
        InputError: a run's batches are larger than a source, or a benchmark or dev set has nothing to rank.
    """
    faults = [*_of_runs(assemble, runs, sources), *_of_benchmarks(evaluate, sources)]
    counts = IngestCounts.read(sources / "counts.json").sources
    for name in assemble.dev_sources:
        if name in counts and not counts[name].splits["dev"]:
            faults.append(f"params.yaml: assemble.dev_sources: source {name!r} has nothing in split 'dev'")
    if faults:
        raise InputError("\n".join(faults))


def _of_runs(assemble: AssembleParams, runs: Mapping[str, TrainParams], sources: Path) -> Iterator[str]:
    counts, ranges, stop = IngestCounts.read(sources / "counts.json").sources, [], 0
    for name in assemble.train_sources:
        if name not in counts:
            return  # the stage itself names a source that is missing
        start, stop = stop, stop + min(size := counts[name].splits["train"], assemble.caps.get(name, size))
        ranges.append(SourceRange(name=name, task=counts[name].task, start=start, stop=stop))
    for run, train in runs.items():
        per_node = 1 if train.launch.nproc_per_node == "auto" else train.launch.nproc_per_node
        try:
            plan_of_epoch(train, ranges, 0, per_node * train.launch.nnodes)
        except InputError as error:
            yield f"run {run}: {error}"


def _of_benchmarks(evaluate: EvaluateParams, sources: Path) -> Iterator[str]:
    counts = IngestCounts.read(sources / "counts.json").sources
    for name, entry in evaluate.benchmarks.items():
        if isinstance(entry, MtebBenchmark) or entry.source not in counts:
            continue
        fault = "" if counts[entry.source].splits[entry.split] else "expected queries, found none"
        if isinstance(entry, LocalSTS):
            fault = without_ranks(pairs_of(entry, sources)["gold"])
        if fault:
            yield f"params.yaml: evaluate.benchmarks.{name}: source {entry.source!r}, split {entry.split!r}: {fault}"


def check_gpus(train: TrainParams) -> None:
    """Refuse ``nccl`` on a machine without GPUs.

    Raises:
        InputError: there are none.
    """
    if train.launch.backend == "nccl" and not torch.cuda.is_available():
        raise InputError("params.yaml: train.launch.backend: nccl: expected GPUs (CUDA), found none; gloo is for CPUs")


def slow_precision(precision: str) -> str | None:
    """Return why ``precision`` is slow on this machine, in words, or ``None``."""
    if precision != "bf16" or torch.cuda.is_available():
        return None
    if any(has for name, has in torch.cpu.get_capabilities().items() if "bf16" in name):
        return None
    return "bf16: no GPU here, and the processor has no bf16 instructions: many times slower than fp32"
