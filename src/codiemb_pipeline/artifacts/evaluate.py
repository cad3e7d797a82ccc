"""What ``evaluate`` writes: ``summary.json`` and ``geometry.json``, and per model and benchmark a result and its items.

``results/<model>/<benchmark>.json`` holds a :class:`BenchmarkResult`; ``items/<model>/<benchmark>.json`` the nDCG@10 of
each query or the cosine of each pair; ``gold/<benchmark>.json`` the human scores of the pairs. Both lists keep the
benchmark's order.
"""

from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np

from codiemb_pipeline.artifacts.base import Artifact
from codiemb_pipeline.jsonl import read_json, write_json

Kind = Literal["retrieval", "sts"]
DIGITS = 6  # of stored scores


class BenchmarkFacts(Artifact):
    """What the results record about a benchmark.

    Attributes:
        metric: mteb's name of the main score.
        source: the source it is made of; ``None`` for the paper's benchmarks.
        hub_id: the hub's name of one of the paper's benchmarks.
        revision: the commit or digest of the data of one of the paper's benchmarks.
        full: whether one of the paper's benchmarks has as many rows as the registry records.
        size: numbers of queries and documents, or of pairs.
    """

    type: Kind
    metric: str
    split: str
    source: str | None = None
    hub_id: str | None = None
    revision: str | None = None
    full: bool = False
    size: dict[str, int]


class BenchmarkResult(BenchmarkFacts):
    """The result of one model on one benchmark: ``scores`` by mteb's names, and the versions they depend on."""

    written_by: ClassVar[str] = "evaluate"
    benchmark: str
    model: str
    main_score: float
    scores: dict[str, float]
    data_revision: str
    weights_sha256: str
    mteb: str
    precision: str


class PaperMeans(Artifact):
    """Means over the paper's benchmarks that were evaluated.

    Attributes:
        tasks: how many tasks the means ``retrieval``, ``sts`` and ``all`` cover.
        of: how many tasks the paper has (8, 7 and 15).
        means: by model. ``all`` is the mean over tasks, not over the two means; a kind without a task has no mean.
    """

    tasks: dict[str, int]
    of: dict[str, int]
    means: dict[str, dict[str, float]]


class EvaluationSummary(Artifact):
    """The content of ``summary.json``: main score by model and benchmark, both in the order evaluated."""

    written_by: ClassVar[str] = "evaluate"
    models: dict[str, dict[str, float | None]]
    benchmarks: dict[str, BenchmarkFacts]
    model_order: list[str]
    benchmark_order: list[str]
    paper: PaperMeans | None = None

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read the summary of the evaluation in ``folder``."""
        return cls.read(folder / "summary.json")


class EmbeddingStats(Artifact):
    """Measures of one model's embedding space; the formulas are in ``evaluate.embedding_stats``."""

    anisotropy: float
    alignment: float | None
    uniformity: float
    svd_entropy: float
    effective_rank: float
    numeric_rank: int
    condition_number: float | None
    token_similarity: float | None
    dimension: int


class Geometry(Artifact):
    """The content of ``geometry.json``: how many texts and pairs were measured, and the measures by model."""

    written_by: ClassVar[str] = "evaluate"
    texts: int
    token_texts: int
    positive_pairs: int
    dimension: int | None
    models: dict[str, EmbeddingStats]


def read_items(folder: Path, model: str, benchmark: str) -> np.ndarray:
    """Return the number of each item of a benchmark, float64 (n,), from the evaluation in ``folder``."""
    return np.array(read_json(folder / "items" / model / f"{benchmark}.json"))


def read_gold(folder: Path, benchmark: str) -> np.ndarray:
    """Return the human scores of a benchmark's pairs, float64 (n,), from the evaluation in ``folder``."""
    return np.array(read_json(folder / "gold" / f"{benchmark}.json"))


def write_items(folder: Path, model: str, benchmark: str, items: list[float]) -> None:
    """Write what :func:`read_items` reads."""
    write_json(folder / "items" / model / f"{benchmark}.json", [round(float(item), DIGITS) for item in items])


def write_gold(folder: Path, benchmark: str, gold: list[float]) -> None:
    """Write what :func:`read_gold` reads."""
    write_json(folder / "gold" / f"{benchmark}.json", [round(float(score), DIGITS) for score in gold])
