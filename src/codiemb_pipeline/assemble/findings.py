"""What the audit has found: counts and samples, per source, benchmark and kinds of text. Compares nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

SHOWN = 160  # characters of a sample


class Where(NamedTuple):
    """Which finding a match belongs to.

    Attributes:
        source: name of the training source.
        benchmark: name of the benchmark.
        training: kind of the training text: ``query``, ``positive``, ``negative``, ``sentence`` or ``pair``.
        text: kind of the benchmark's text: ``query``, ``document``, ``sentence`` or ``pair``.
        shared: whether the two belong to the one corpus that train and test of a source share.
    """

    source: str
    benchmark: str
    training: str
    text: str
    shared: bool


@dataclass(frozen=True)
class Hit:
    """One training text in one benchmark.

    Attributes:
        key: of the training text, the same for equal texts.
        texts: the training text; both of a pair.
        id: of the training example.
        unit: number of the benchmark's text or pair, among all of the audit.
        benchmark_id: its id in the benchmark.
        benchmark_texts: the benchmark's text; both of a pair, in the order of ``texts``.
        similarity: Jaccard similarity of the n-grams; of a pair that of its less similar side.
        estimate: the same by MinHash; ``None`` where the texts are equal.
    """

    key: object
    texts: tuple[str, ...]
    id: str
    unit: int
    benchmark_id: str
    benchmark_texts: tuple[str, ...]
    similarity: float
    estimate: float | None


@dataclass
class Finding:
    """Training texts of one kind found among benchmark texts of one kind."""

    exact_by_key: dict[object, bool] = field(default_factory=dict)
    units: set[int] = field(default_factory=set)
    samples: dict[bool, list[Hit]] = field(default_factory=lambda: {True: [], False: []})

    def add(self, hit: Hit, most_samples: int) -> None:
        """Count ``hit``, and keep it as a sample while there is room."""
        exact = hit.estimate is None
        known = self.exact_by_key.get(hit.key)
        self.exact_by_key[hit.key] = exact or bool(known)
        self.units.add(hit.unit)
        # A text is shown once as an equal and once as a near one: by its first, which is its most similar.
        samples = self.samples[exact]
        if (known is None or (exact and not known)) and len(samples) < most_samples:
            samples.append(hit)

    def to_dict(self) -> dict[str, Any]:
        """Return counts and samples as plain JSON types."""
        exact = sum(self.exact_by_key.values())
        return {
            "exact": exact,
            "near": len(self.exact_by_key) - exact,
            "benchmark_texts": len(self.units),
            "samples": [_sample(hit) for kind in (True, False) for hit in self.samples[kind]],
        }


def _sample(hit: Hit) -> dict[str, Any]:
    return {
        "exact": hit.estimate is None,
        "training_id": hit.id,
        "training_texts": [_cut(text) for text in hit.texts],
        "benchmark_id": hit.benchmark_id,
        "benchmark_texts": [_cut(text) for text in hit.benchmark_texts],
        "similarity": round(hit.similarity, 4),
        "estimate": None if hit.estimate is None else round(hit.estimate, 4),
    }


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
