"""Training examples as text ids, collected source by source."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from codiemb_pipeline.artifacts.assemble import SourceRange, TrainingArrays
from codiemb_pipeline.assemble.tokens import TextRegister
from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.schema import TrainingExample


class TrainingSet:
    """Collects examples."""

    def __init__(self, register: TextRegister, prompts: PromptBook) -> None:
        self._register, self._prompts = register, prompts
        self._query: list[int] = []
        self._positives: list[np.ndarray] = []
        self._negatives: list[np.ndarray] = []
        self._gold: list[float] = []
        self._sources: list[SourceRange] = []

    def add_source(self, examples: list[TrainingExample]) -> np.ndarray:
        """Append all examples of one source, one at least, and return the ids of its texts, each once, int64."""
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
