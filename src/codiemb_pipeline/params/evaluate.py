"""The ``evaluate`` section: which models are judged, and on what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from codiemb_pipeline.params.base import Section
from codiemb_pipeline.schema import Split


class LocalRetrieval(Section):
    """A retrieval benchmark made of a source's own split: its queries against its whole corpus, nDCG@10.

    Attributes:
        type: ``retrieval``.
        source: name of an ``ir`` source in section ``ingest``.
        split: whose queries are asked.
    """

    type: Literal["retrieval"]
    source: str
    split: Split


class LocalSTS(Section):
    """A similarity benchmark made of a source's own split: Spearman of cosine against gold.

    Attributes:
        type: ``sts``.
        source: name of an ``sts`` source in section ``ingest``.
        split: whose pairs are scored.
        without_pairs_of: names of ``sts`` sources whose pairs (of any split, in either order) are left out.
    """

    type: Literal["sts"]
    source: str
    split: Split
    without_pairs_of: tuple[str, ...] = ()


Benchmark = Annotated[LocalRetrieval | LocalSTS, Field(discriminator="type")]


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
        benchmarks: by name; the name is mteb's task name.
        geometry: measurements of the embedding space; ``null`` for none.
    """

    models: list[str] = Field(min_length=1)
    tokens_per_chunk: int = Field(ge=1)
    benchmarks: dict[str, Benchmark] = Field(min_length=1)
    geometry: GeometryParams | None
