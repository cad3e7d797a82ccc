"""The number of training examples of each source, from the best evidence available.

In this order: the examples that ``assemble`` wrote; the counts of ``ingest``; ``ingest`` itself, run here on small
files; the number that the registry declares. Only ``assemble`` knows how many examples it removes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml

from codiemb_pipeline.artifacts.assemble import SourceRange, TokenStore, TrainingArrays
from codiemb_pipeline.artifacts.ingest import IngestCounts, SourceCounts
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES
from codiemb_pipeline.ingest.run import ingest_sources
from codiemb_pipeline.locations import resolve
from codiemb_pipeline.params import IngestParams, Params
from codiemb_pipeline.params.ingest import SourceParams
from codiemb_pipeline.schema import Task

COUNTS = Path("data/02_intermediate/sources/counts.json")
MODEL_INPUT = Path("data/05_model_input/examples")
SMALL = 16 * 2**20
"""Bytes of the files, of all sources together, that are ingested to count them: a few seconds."""
PACKED = {".gz": 4, ".zip": 4, ".parquet": 4}  # uncompressed bytes per compressed byte
SAMPLE = 20_000  # examples per source whose lengths are averaged


@dataclass(frozen=True, kw_only=True)
class ExampleCount:
    """The number of training examples of a source.

    Attributes:
        examples: queries or pairs.
        evidence: where the number comes from, in words.
        approximate: whether the number is only close, such as a share of a declared one.
        lengths: mean tokens of queries (first texts), positives (second texts) and negatives, once assembled.
    """

    name: str
    task: Task
    examples: int
    evidence: str
    approximate: bool = False
    lengths: tuple[float, float, float] | None = None


def count_examples(
    params: Params, root: Path, written: Mapping[str, Any] | None = None
) -> tuple[list[ExampleCount], list[str]]:
    """Return the counts of the training sources, and a sentence about each source whose count is unknown.

    Args:
        params: all of params.yaml.
        root: the project's folder.
        written: the content of params.yaml. Results that ``dvc.lock`` records under other settings are ignored.
    """
    names, changed = params.assemble.train_sources, _changed_sections(root, written or {})
    if not changed and (assembled := assembled_counts(root / MODEL_INPUT, names)):
        return assembled, []
    use_ingest = "ingest" not in changed and (root / COUNTS).exists()
    ingested = IngestCounts.read(root / COUNTS).sources if use_ingest else {}
    counts, unknown, bytes_left = [], [], SMALL
    for name in names:
        try:
            if name in ingested:
                count = _of_ingest(name, ingested[name], "counted by ingest")
            elif (source := params.ingest.sources.get(name)) is None:
                raise InputError("it is not among ingest.sources")
            elif (size := _bytes_of(source)) <= bytes_left:
                bytes_left -= size
                count = _ingest_now(name, params.ingest)
            else:
                count = _declared(name, source)
        except InputError as error:
            unknown.append(f"examples of {name}, which the plan leaves out: {error}")
            continue
        if (cap := params.assemble.caps.get(name, count.examples)) < count.examples:
            evidence = f"{count.evidence}; cut by assemble.caps"
            count = replace(count, examples=cap, evidence=evidence, approximate=False)
        counts.append(count)
    return counts, unknown


def assembled_counts(model_input: Path, names: Sequence[str]) -> list[ExampleCount] | None:
    """Return the counts of what ``assemble`` wrote; ``None`` if it wrote nothing, or other sources than ``names``."""
    if not (model_input / "train" / "sources.json").exists():
        return None
    arrays, store = TrainingArrays(model_input / "train"), TokenStore(model_input / "tokens")
    if [source.name for source in arrays.sources] != list(names):
        return None
    counts = []
    for source in arrays.sources:
        size, lengths = source.stop - source.start, _lengths(arrays, store, source)
        name, task = source.name, source.task
        counts.append(ExampleCount(name=name, task=task, examples=size, evidence="as assembled", lengths=lengths))
    return counts


def _lengths(arrays: TrainingArrays, store: TokenStore, source: SourceRange) -> tuple[float, float, float]:
    examples = range(source.start, source.stop, max((source.stop - source.start) // SAMPLE, 1))
    positives = np.concatenate([arrays.positives(example) for example in examples])
    negatives = np.concatenate([arrays.negatives(example) for example in examples])
    query, positive, negative = (
        float(store.lengths(texts).mean()) if len(texts) else 0.0
        for texts in (arrays.query[examples.start : examples.stop : examples.step], positives, negatives)
    )
    return query, positive, negative


def _changed_sections(root: Path, written: Mapping[str, Any]) -> set[str]:
    """Return the sections that decide the examples and differ from those in ``dvc.lock``."""
    lock = root / "dvc.lock"
    stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"] if lock.exists() else {}
    locked = {
        section: stages.get(stage, {}).get("params", {}).get("params.yaml", {}).get(section)
        for section, stage in {"ingest": "ingest", "assemble": "assemble", "encoder": "assemble"}.items()
    }
    return {name for name, value in locked.items() if name in written and value not in (None, written[name])}


def _of_ingest(name: str, counted: SourceCounts, evidence: str) -> ExampleCount:
    return ExampleCount(name=name, task=counted.task, examples=counted.splits["train"], evidence=evidence)


def _ingest_now(name: str, params: IngestParams) -> ExampleCount:
    """Count with the stage's own code: only its reader knows which rows of a file are examples of the train split."""
    with TemporaryDirectory() as folder:
        ingest_sources(params.model_copy(update={"sources": {name: params.sources[name]}}), Path(folder))
        counted = IngestCounts.read(Path(folder) / COUNTS.name).sources[name]
        return _of_ingest(name, counted, "counted now, as ingest does")


def _bytes_of(source: SourceParams) -> float:
    """Return the bytes of a source's files, uncompressed; infinity if they are not on this machine."""
    if source.path is None:
        return math.inf
    try:
        path = resolve(source.path, field="path")
    except InputError:
        return math.inf
    files = [file for file in [path, *path.rglob("*")] if file.is_file()]
    return sum(file.stat().st_size * PACKED.get(file.suffix, 1) for file in files)


def _declared(name: str, source: SourceParams) -> ExampleCount:
    """Return the share of the registry's number that ``ingest`` puts into the train split.

    ``limit`` applies before the split. With ``splits: null`` all examples count as train, though held-out files then
    use a part of the limit.
    """
    declared = TRAINING_SOURCES.get(source.registered)
    if declared is None:
        raise InputError("its files are not here, or too large to count now; `dvc repro ingest` counts them")
    if declared.examples is None:
        raise InputError("the registry declares no number; `dvc repro ingest` counts them")
    share = 1.0 if source.splits is None else source.splits.train
    as_declared = share == 1.0 and source.path is None and source.limit is None and source.documents_per_query is None
    return ExampleCount(
        name=name,
        task=declared.task,
        examples=round(min(declared.examples, source.limit or math.inf) * share),
        evidence=f"declared: {declared.examples_from}",
        approximate=declared.examples_about or not as_declared,
    )
