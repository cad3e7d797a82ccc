"""How many training examples each source has: as assembled, counted by ``ingest``, counted now, or declared.

Of these the first that there is. What ``assemble`` and its audit leave out is known only once it has run. Knows nothing
of steps or tokens.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES, TrainingSource
from codiemb_pipeline.ingest.run import ingest_sources
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.locations import resolve
from codiemb_pipeline.params import Params
from codiemb_pipeline.params.ingest import SourceParams
from codiemb_pipeline.plan.amounts import Count, Examples, assembled_examples, expected_examples

COUNTS = Path("data/02_intermediate/sources/counts.json")
MODEL_INPUT = Path("data/05_model_input/examples")
SMALL = 16 * 2**20
"""Bytes of files, all sources together, that are read to count them: a second or so."""
PACKED = {".gz": 4, ".zip": 4, ".parquet": 4}
"""How many bytes a byte of a packed file stands for."""
PAIRS = 4  # the same for pairs, of which more go into a megabyte
BLOCK = 4096  # bytes a file counts for at least, so that a folder of countless small ones is left alone too


def examples_of(
    params: Params, root: Path, written: Mapping[str, Any] | None = None
) -> tuple[Examples | None, list[str]]:
    """Return the training examples as far as they are known, and in words of which sources they are not.

    Args:
        params: all of params.yaml.
        root: the project's folder.
        written: params.yaml as written: what lies there from other settings, as ``dvc.lock`` tells, then counts for
            nothing.
    """
    wanted = list(params.assemble.train_sources)
    changed = _changed_sections(root, written or {})
    if not changed and (examples := assembled_examples(root / MODEL_INPUT, wanted)) is not None:
        return examples, []
    there = "ingest" not in changed and (root / COUNTS).exists()
    ingested = read_json(root / COUNTS)["sources"] if there else {}
    counts: dict[str, Count] = {}
    unknown: list[str] = []
    budget = SMALL
    for name in wanted:
        try:
            if name in ingested:
                count = _of_ingest(ingested[name], "counted by ingest")
            elif (entry := params.ingest.sources.get(name)) is None:
                raise InputError("it is not among ingest.sources")
            elif (size := _bytes_here(name, entry, budget)) is not None:
                budget -= size
                count = _counted_now(name, params)
            else:
                count = _declared(entry)
        except InputError as error:
            unknown.append(f"how many examples there are of {name}, which is left out here: {error}")
        else:
            counts[name] = _within_cap(count, params.assemble.caps.get(name))
    return (expected_examples(counts, params.encoder.max_length) if counts else None), unknown


def _changed_sections(root: Path, written: Mapping[str, Any]) -> set[str]:
    """Return which of the sections that decide the examples are not as they were when DVC last locked their stage."""
    lock = root / "dvc.lock"
    stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"] if lock.exists() else {}
    deciding = {"ingest": "ingest", "assemble": "assemble", "encoder": "assemble"}
    locked = {
        section: stages.get(stage, {}).get("params", {}).get("params.yaml", {}).get(section)
        for section, stage in deciding.items()
    }
    return {name for name, value in locked.items() if name in written and value not in (None, written[name])}


def expected_train(entry: SourceParams, declared: TrainingSource) -> int | None:
    """Return how many of the declared examples ``ingest`` puts into the train split; ``None`` where none are declared.

    ``limit`` cuts all splits together, so the shares are of what it leaves. With ``splits: null`` all is train, but for
    held-out files, of which a limit takes some, too.
    """
    if declared.examples is None:
        return None
    kept = declared.examples if entry.limit is None else min(declared.examples, entry.limit)
    return round(kept * (1.0 if entry.splits is None else entry.splits.train))


def _declared(entry: SourceParams) -> Count:
    """Return the number that the registry declares.

    Raises:
        InputError: there is none.
    """
    declared = TRAINING_SOURCES.get(entry.registered)
    train = None if declared is None else expected_train(entry, declared)
    if declared is None or train is None:
        why = (
            "the registry declares no number"
            if declared is not None
            else "its files are not here, or too large to be read now"
        )
        raise InputError(f"{why}; `dvc repro ingest` counts them")
    exact = entry.splits is None or entry.splits.train == 1.0
    exact &= entry.path is None and entry.limit is None and entry.documents_per_query is None
    return Count(
        task=declared.task,
        examples=train,
        known=f"declared: {declared.examples_from}",
        about=declared.examples_about or not exact,
    )


def _counted_now(name: str, params: Params) -> Count:
    """Return what ``ingest`` counts, by running it on one source.

    Raises:
        InputError: as ``ingest`` does.
    """
    with TemporaryDirectory() as folder:
        ingest_sources(params.ingest.model_copy(update={"sources": {name: params.ingest.sources[name]}}), Path(folder))
        return _of_ingest(read_json(Path(folder) / COUNTS.name)["sources"][name], "counted now, as ingest does")


def _of_ingest(counted: dict, known: str) -> Count:
    return Count(task=counted["task"], examples=counted["splits"]["train"], known=known)


def _within_cap(count: Count, cap: int | None) -> Count:
    """Return the count that ``assemble`` leaves under a cap (see ``assemble.mixture.choose``)."""
    if cap is None or count.examples <= cap:
        return count
    return Count(task=count.task, examples=cap, known=f"{count.known}; cut by assemble.caps", about=False)


def _bytes_here(name: str, entry: SourceParams, most: int) -> int | None:
    """Return the bytes of a source's files, weighed by the time they take; ``None`` for no files, or over ``most``."""
    if entry.path is None:
        return None
    try:
        place = resolve(entry.path, field=f"ingest.sources.{name}.path")
    except InputError:
        return None
    task = entry.task if entry.registered is None else TRAINING_SOURCES[entry.registered].task
    total, weight = 0, PAIRS if task == "sts" else 1
    for file in _files(place):
        total += max(file.stat().st_size, BLOCK) * PACKED.get(file.suffix, 1) * weight
        if total > most:
            return None
    return total


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    for folder, _, names in os.walk(place):
        yield from (file for name in names if (file := Path(folder) / name).is_file())
