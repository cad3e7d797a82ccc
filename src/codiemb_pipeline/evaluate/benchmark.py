"""The interface of a benchmark, made of a source or one of the paper's 15."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

GOOD_GOLD = 0.8
"""Pairs with this gold score or more count as positive pairs."""


class Benchmark(Protocol):
    """A benchmark that models are evaluated on.

    Attributes:
        name: of the benchmark and of its mteb task.
        kind: ``retrieval`` or ``sts``.
        split: the split that is scored.
        revision: changes whenever the data does.
    """

    name: str
    kind: str
    split: str
    revision: str

    @property
    def size(self) -> dict[str, int]:
        """Numbers of queries and documents, or of pairs."""

    @property
    def definition(self) -> dict[str, Any]:
        """What a result depends on besides the data and the model."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the results record about the benchmark, except its size: fields of ``BenchmarkFacts``."""

    def open(self) -> None:
        """Check that the data can be read; download it where it is missing from the hub's cache."""

    def make_task(self) -> Any:
        """Return the mteb task."""

    def query_ids(self) -> list[str]:
        """Return the ids of the queries that are scored, in order."""

    def gold(self) -> list[float] | None:
        """Return the human scores of the pairs in [0, 1], in order; ``None`` for retrieval."""

    def texts(self) -> Iterator[str]:
        """Yield every text."""

    def positive_pairs(self) -> Iterator[tuple[str, str]]:
        """Yield texts that belong together: a query and a relevant document, or a pair of high gold score."""
