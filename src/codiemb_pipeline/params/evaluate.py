"""The ``evaluate`` section: which models are evaluated, and on which benchmarks."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from codiemb_pipeline.benchmarks.registry import spec_of
from codiemb_pipeline.params.base import DISTINCT, Count, FileName, Location, Section, Seed
from codiemb_pipeline.params.launch import Processes
from codiemb_pipeline.schema import Split


class LocalRetrieval(Section):
    """A retrieval benchmark made of an ``ir`` source: the queries of a split against the whole corpus, nDCG@10."""

    type: Literal["retrieval"]
    source: str
    split: Split


class LocalSTS(Section):
    """A similarity benchmark made of a split of an ``sts`` source: Spearman of cosine against gold.

    Pairs of the sources ``without_pairs_of`` (of any split, in either order) are left out.
    """

    type: Literal["sts"]
    source: str
    split: Split
    without_pairs_of: tuple[str, ...] = ()


class MtebBenchmark(Section):
    """One of the paper's 15 benchmarks; its key is the name of the mteb task. The rest is in ``benchmarks.registry``.

    Attributes:
        path: a folder in the layout of the hub's data set; ``null`` for the hub itself, at the pinned revision.
        revision: the commit a folder is known to be a copy of, as a bundle proves it by its manifest; left out, its
            results bear a digest of its files instead.
    """

    type: Literal["mteb"]
    path: Location | None
    revision: str | None = None


Benchmark = Annotated[LocalRetrieval | LocalSTS | MtebBenchmark, Field(discriminator="type")]


class GeometryParams(Section):
    """Measurements of the embedding space on ``texts`` texts, chosen by ``seed``."""

    seed: Seed
    texts: int = Field(ge=2, le=10**6)


class EvaluateParams(Section):
    """Evaluation with mteb; ``conf/profiles/base.yaml`` describes the keys.

    ``precision`` is that of the encoder: cosines are of float32 vectors, and geometry is always measured in ``fp32``.
    A benchmark's name is its mteb task name. Each process evaluates one model on one benchmark at a
    time. ``store_gigabytes`` (GiB) changes no result.
    """

    models: list[str] = Field(min_length=1)
    tokens_per_chunk: Count
    precision: Literal["fp32", "bf16"]
    processes: Processes
    store_gigabytes: float = Field(ge=0, le=10**6)
    benchmarks: Annotated[dict[FileName, Benchmark], DISTINCT] = Field(min_length=1)
    geometry: GeometryParams | None

    @field_validator("benchmarks")
    @classmethod
    def _known_to_mteb(cls, benchmarks: dict[str, Benchmark]) -> dict[str, Benchmark]:
        for name, entry in benchmarks.items():
            if isinstance(entry, MtebBenchmark):
                spec_of(name)
        return benchmarks
