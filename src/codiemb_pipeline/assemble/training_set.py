"""The training set: what each source gives to it (caps, order, audit), collected as text ids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from codiemb_pipeline.artifacts.assemble import SourceRange, TrainingArrays
from codiemb_pipeline.artifacts.ingest import read_pairs, read_retrieval, task_of
from codiemb_pipeline.assemble.contamination import Audit
from codiemb_pipeline.assemble.examples import PairExamples, RetrievalExamples
from codiemb_pipeline.assemble.tokens import TextRegister
from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.assemble import AssembleParams
from codiemb_pipeline.schema import TrainingExample
from codiemb_pipeline.texts import hash_share


def choose(ids: Sequence[str], cap: int | None, seed: int, *purpose: str) -> list[int]:
    """Return the indices of at most ``cap`` of ``ids``, in order; all of them for ``None``.

    Each id has a fixed random number and the lowest win. The choice depends on the ids alone, grows with the cap, and
    changes little when ids are added or removed.
    """
    if cap is None or len(ids) <= cap:
        return list(range(len(ids)))
    return sorted(sorted(range(len(ids)), key=lambda index: hash_share(seed, *purpose, ids[index]))[:cap])


def source_examples(
    name: str, params: AssembleParams, sources: Path, hard_negatives: Path, audit: Audit | None = None
) -> tuple[list[TrainingExample], dict[str, Any]]:
    """Return the training examples of source ``name`` in the order of its tables, and their counts for the manifest.

    Raises:
        InputError: the source does not exist or has no training rows, its hard negatives do not fit it, or the audit
            removes all of it.
    """
    task = task_of(sources, name)
    if task == "ir":
        rows = RetrievalExamples(name, read_retrieval(sources, name), hard_negatives / f"{name}.jsonl")
        limits = params.model_dump(include={"max_positives", "max_negatives"})
        build, over_cap = partial(rows.build, **limits), "queries_over_cap"
    else:
        rows = PairExamples(name, read_pairs(sources, name))
        build, over_cap = rows.build, "pairs_over_cap"
    if not rows.ids:
        raise InputError(
            f"source {name!r}: named in params.yaml, assemble.train_sources, but has no training rows; see its splits "
            f"in ingest.sources.{name}"
        )
    chosen = choose(rows.ids, params.caps.get(name), params.seed, "cap", name)
    rows.dropped[over_cap] += len(rows.ids) - len(chosen)
    bar = tqdm(chosen, desc=f"assemble {name}", unit="example", disable=None, leave=False)
    examples = [build(number) for number in bar]
    if audit:
        examples, found = audit.check(name, examples)
        rows.dropped.update({f"{what}_in_benchmarks": count for what, count in found.items()})
        if not examples:
            raise InputError(f"source {name!r}: all its training examples stand in benchmarks, see assemble.audit")
    counts = {
        "task": task,
        "examples": len(examples),
        "positives": sum(len(example.positives) for example in examples),
        "negatives": sum(len(example.negatives) for example in examples),
        "dropped": dict(rows.dropped),
    }
    if task == "ir":
        counts["examples_without_negatives"] = sum(not example.negatives for example in examples)
    return examples, counts


class TrainingSet:
    """Collects examples as ids of rendered texts, source by source."""

    def __init__(self, register: TextRegister, prompts: PromptBook) -> None:
        self._register, self._prompts = register, prompts
        self._query: list[int] = []
        self._positives: list[np.ndarray] = []
        self._negatives: list[np.ndarray] = []
        self._gold: list[float] = []
        self._sources: list[SourceRange] = []

    def add_source(self, examples: list[TrainingExample]) -> np.ndarray:
        """Append all examples of one source, at least one, and return the ids of its texts, each once, int64."""
        start, first = len(self._query), examples[0]
        query_prefix = self._prompts.prefix(first.task, "query", first.source)
        other_prefix = self._prompts.prefix(first.task, "document" if first.task == "ir" else "query", first.source)
        for example in examples:
            self._query.append(self._register.add(query_prefix, example.query))
            self._positives.append(self._ids(other_prefix, example.positives))
            self._negatives.append(self._ids(other_prefix, example.negatives))
            self._gold.append(example.scores[0] if example.scores else math.nan)
        self._sources.append(SourceRange(name=first.source, task=first.task, start=start, stop=len(self._query)))
        used = [np.array(self._query[start:], dtype=np.int64), *self._positives[start:], *self._negatives[start:]]
        return np.unique(np.concatenate(used))

    def write(self, folder: Path) -> None:
        """Write all examples."""
        TrainingArrays.write(
            folder,
            query=self._query,
            positives=self._positives,
            negatives=self._negatives,
            gold=self._gold,
            sources=self._sources,
        )

    def _ids(self, prefix: str, texts: tuple[str, ...]) -> np.ndarray:
        return np.array([self._register.add(prefix, text) for text in texts], dtype=np.int64)
