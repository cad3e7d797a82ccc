"""The ``evaluate`` section: which models are evaluated, and on which benchmarks."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from codiemb_pipeline.benchmarks.registry import spec_of
from codiemb_pipeline.params.base import Section
from codiemb_pipeline.params.launch import Processes
from codiemb_pipeline.schema import Split


class LocalRetrieval(Section):
    """A retrieval benchmark made of a source's own split: its queries against its whole corpus, nDCG@10.

    Attributes:
        type: ``retrieval``.
        source: name of an ``ir`` source in section ``ingest``.
        split: the split of the queries.
    """

    type: Literal["retrieval"]
    source: str
    split: Split


class LocalSTS(Section):
    """A similarity benchmark made of a source's own split: Spearman of cosine against gold.

    Attributes:
        type: ``sts``.
        source: name of an ``sts`` source in section ``ingest``.
        split: the split of the pairs.
        without_pairs_of: names of ``sts`` sources whose pairs (of any split, in either order) are left out.
    """

    type: Literal["sts"]
    source: str
    split: Split
    without_pairs_of: tuple[str, ...] = ()


class MtebBenchmark(Section):
    """One of the paper's 15 benchmarks; its key is the name of the mteb task. The rest is in ``benchmarks.registry``.

    Attributes:
        type: ``mteb``.
        path: a folder in the layout of the hub's data set; ``null`` for the hub itself, at the pinned revision.
        revision: the commit a folder is known to be a copy of, as a bundle proves it by its manifest; left out, its
            results bear a digest of its files instead.
    """

    type: Literal["mteb"]
    path: str | None
    revision: str | None = None


Benchmark = Annotated[LocalRetrieval | LocalSTS | MtebBenchmark, Field(discriminator="type")]


class GeometryParams(Section):
    """Measurements of the embedding space.

    Attributes:
        seed: of the choice of texts.
        texts: how many texts are measured.
    """

    seed: int
    texts: int = Field(ge=2)


class EvaluateParams(Section):
    """Evaluation with mteb.

    Attributes:
        models: ``base``, ``last`` (checkpoint), ``checkpoints`` (all), ``merged`` (all), or a model's own name.
        tokens_per_chunk: padded tokens per forward pass.
        precision: ``fp32`` or ``bf16`` (autocast) of the encoder; cosines are of float32 vectors, and geometry
            is always measured in ``fp32``.
        processes: processes that evaluate, each one model on one benchmark at a time; see ``params.launch``.
        benchmarks: by name; the name is mteb's task name.
        geometry: measurements of the embedding space; ``null`` for none.
    """

    models: list[str] = Field(min_length=1)
    tokens_per_chunk: int = Field(ge=1)
    precision: Literal["fp32", "bf16"]
    processes: Processes
    benchmarks: dict[str, Benchmark] = Field(min_length=1)
    geometry: GeometryParams | None

    @field_validator("benchmarks")
    @classmethod
    def _known_to_mteb(cls, benchmarks: dict[str, Benchmark]) -> dict[str, Benchmark]:
        for name, entry in benchmarks.items():
            if isinstance(entry, MtebBenchmark):
                spec_of(name)
        return benchmarks
