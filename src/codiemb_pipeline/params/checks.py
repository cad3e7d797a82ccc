"""What must agree between sections of params.yaml: names that one section gives and another uses."""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, get_args

from codiemb_pipeline.artifacts.merge import merged_name
from codiemb_pipeline.artifacts.train import checkpoint_name
from codiemb_pipeline.benchmarks.registry import BENCHMARKS
from codiemb_pipeline.errors import nearest
from codiemb_pipeline.params.base import short
from codiemb_pipeline.params.evaluate import LocalRetrieval, LocalSTS
from codiemb_pipeline.params.ingest import RegisteredRetrieval, RegisteredSimilarity, SourceParams
from codiemb_pipeline.schema import TASKS, Split, Task

if TYPE_CHECKING:
    from codiemb_pipeline.params import Params

MODELS = ("base", "last", "checkpoints", "merged")
KNOWN_NAMES = {*TASKS, *BENCHMARKS, *get_args(RegisteredRetrieval), *get_args(RegisteredSimilarity)}
"""Names that may have an instruction although this params.yaml uses another selection of them."""


def disagreements(params: "Params") -> Iterator[str]:
    """Yield one line for each fault: the full key, what was expected and what was found."""
    names = {*KNOWN_NAMES, *params.ingest.sources, *params.evaluate.benchmarks}
    for name in params.encoder.prompts.instructions:
        yield from _unknown("encoder.prompts.instructions", "task, source or benchmark", name, names)
    if not params.assemble.dev_sources:
        yield "assemble.dev_sources: expected one source at least: merge decides by dev scores; found none"
    for key, split in (("train_sources", "train"), ("dev_sources", "dev")):
        for name in getattr(params.assemble, key):
            yield from _of_source(params, f"assemble.{key}", name, split)
    for name, benchmark in params.evaluate.benchmarks.items():
        if isinstance(benchmark, LocalRetrieval | LocalSTS):
            yield from _of_benchmark(params, f"evaluate.benchmarks.{name}", benchmark)
    for run in params.trainings:
        yield from _of_run(params, run)
    yield from _of_recipes(params)
    models = {*MODELS, *map(merged_name, params.merge.recipes)}
    shown = [*models, *(f"{run}/{checkpoint_name(0)}" for run in params.runs)]
    for model in params.evaluate.models:
        run, _, step = model.partition("/")
        if run not in params.runs or not re.fullmatch(r"step-[0-9]{6,}", step):
            yield from _unknown("evaluate.models", "model", model, models, shown)


def _of_recipes(params: "Params") -> Iterator[str]:
    for name, recipe in params.merge.recipes.items():
        chosen, key = recipe.runs or tuple(params.runs), f"merge.recipes.{name}"
        for run in chosen:
            yield from _unknown(f"{key}.runs", "run", run, params.runs)
        most = recipe.at_most or len(chosen)
        if recipe.last_only and not recipe.at_least <= len(chosen) <= most:
            wanted = str(recipe.at_least) if most == recipe.at_least else f"{recipe.at_least} or more"
            yield f"{key}: last_only: {recipe.method} merges the last checkpoints of {wanted} runs; found {len(chosen)}"


def _unknown(key: str, kind: str, name: str, names: Iterable[str], shown: Iterable[str] = ()) -> Iterator[str]:
    if name not in names:
        yield f"{key}: expected the name of a {kind}; found {short(repr(name))}{nearest(name, shown or names)}"


def _of_source(params: "Params", key: str, name: str, split: Split, task: Task | None = None) -> Iterator[str]:
    """Say why ``key`` cannot have the ``split`` of source ``name``, as far as the settings decide it."""
    yield from _unknown(key, "source", name, params.ingest.sources)
    if (source := params.ingest.sources.get(name)) is None:
        return
    if task and source.task != task:
        yield f"{key}: expected a source of task {task!r}; found {name!r} of task {source.task!r}"
    elif not _has(source, split):
        yield f"{key}: ingest.sources.{name}.splits gives split {split!r} nothing; found source {name!r}"


def _has(source: SourceParams, split: Split) -> bool:
    if source.splits is None:
        return source.reader != "flag_embedding" or split == "train"
    return getattr(source.splits, split) > 0


def _of_benchmark(params: "Params", key: str, benchmark: LocalRetrieval | LocalSTS) -> Iterator[str]:
    task = "ir" if isinstance(benchmark, LocalRetrieval) else "sts"
    yield from _of_source(params, f"{key}.source", benchmark.source, benchmark.split, task)
    for name in getattr(benchmark, "without_pairs_of", ()):
        yield from _unknown(f"{key}.without_pairs_of", "source", name, params.ingest.sources)
        if (other := params.ingest.sources.get(name)) and other.task != "sts":
            yield f"{key}.without_pairs_of: expected a source of task 'sts'; found {name!r} of task {other.task!r}"


def _of_run(params: "Params", run: str) -> Iterator[str]:
    train, names = params.trainings[run], params.assemble.train_sources
    sampler, key = train.sampler, f"runs.{run}.sampler"
    for name in sampler.source_weights or ():
        yield from _unknown(f"{key}.source_weights", "source that is trained on", name, names)
    for name in names if sampler.source_weights is not None else ():
        if name not in sampler.source_weights:
            yield f"{key}.source_weights: expected a weight for {name!r}, which is trained on; found none"
    tasks = {params.ingest.sources[name].task for name in names if name in params.ingest.sources}
    for task, share in sampler.steps_per_task or ():
        if share > 0 and task not in tasks:
            yield f"{key}.steps_per_task.{task}: expected 0, as no source of that task is trained on; found {share}"
    projection = params.encoder.projection
    widest = max(train.matryoshka.dimensions) if train.matryoshka else 0
    if projection and widest >= projection.dimensions:
        yield (
            f"runs.{run}.matryoshka.dimensions: expected less than encoder.projection.dimensions "
            f"({projection.dimensions}); found {widest}"
        )
