"""What ``mine`` writes beside the hard negatives of each source: ``audit.json``, how the mining went."""

from typing import ClassVar

from codiemb_pipeline.artifacts.base import Artifact


class ScoredDocument(Artifact):
    """A document of a sample: its id, its text (cut if long) and its cosine with the query."""

    doc_id: str
    text: str
    score: float


class MiningSample(Artifact):
    """A query to look at: positives by falling score, hard negatives in the order kept."""

    query_id: str
    query: str
    positives: list[ScoredDocument]
    negatives: list[ScoredDocument]


class CosineHistogram(Artifact):
    """Documents by cosine with their query, between ``edges``; the outer bins hold all beyond.

    ``dropped``: by window, margins or repeated text. ``not_sampled``: those that qualified and were not drawn.
    """

    edges: list[float]
    positives: list[int]
    kept: list[int]
    dropped: list[int]
    not_sampled: list[int]


class SourceAudit(Artifact):
    """How the mining of one source went.

    Attributes:
        counts: of ``queries``, ``documents``, ``positives`` and kept ``negatives``; ``queries_with_fewer`` negatives
            than asked for, ``queries_without_negatives`` and ``queries_without_positives``.
        neighbours: documents by outcome, of those the search found up to ``rank_to``.
        named: the same of the negatives that the source names.
    """

    counts: dict[str, int]
    neighbours: dict[str, int]
    named: dict[str, int]
    histogram: CosineHistogram
    samples: list[MiningSample]


class MiningAudit(Artifact):
    """The content of ``audit.json``: each mined source by name."""

    written_by: ClassVar[str] = "mine"
    sources: dict[str, SourceAudit]
