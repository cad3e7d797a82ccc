"""How mining went: counts by outcome, histograms of cosines, and queries to look at. The report shows it."""

from collections import Counter

import numpy as np

from codiemb_pipeline.artifacts.mine import CosineHistogram, MiningSample, ScoredDocument, SourceAudit
from codiemb_pipeline.mine.negatives import MinedQuery, Outcome
from codiemb_pipeline.mine.relevance import MiningSource
from codiemb_pipeline.mine.work_files import Texts
from codiemb_pipeline.params.mine import MineParams
from codiemb_pipeline.texts import hash_share

EDGES = np.linspace(-0.2, 1.0, 61)
SHOWN_CHARACTERS = 300
_HISTOGRAMS = {
    "kept": [Outcome.KEPT],
    "dropped": [Outcome.OUTSIDE_WINDOW, Outcome.ABSOLUTE_MARGIN, Outcome.RELATIVE_MARGIN, Outcome.REPEATED_TEXT],
    "not_sampled": [Outcome.NOT_SAMPLED],
}


class AuditCollector:
    """Collects the audit of one source, query by query; ``params.seed`` chooses the samples."""

    def __init__(self, source: MiningSource, queries: Texts, documents: Texts, params: MineParams) -> None:
        self._source, self._params = source, params
        self._queries, self._documents = queries, documents
        self._counts: Counter[str] = Counter()
        self._neighbours, self._named = (np.zeros(len(Outcome), dtype=np.int64) for _ in range(2))
        self._histograms = {name: np.zeros(len(EDGES) - 1, dtype=np.int64) for name in ("positives", *_HISTOGRAMS)}
        order = sorted(source.query_ids, key=lambda query_id: hash_share(params.seed, "audit", query_id))
        self._sampled = set(order[: params.audit_samples])
        self._samples: list[MiningSample] = []

    def add(self, mined: MinedQuery) -> None:
        """Count one query."""
        kept = len(mined.negatives())
        self._counts["positives"] += len(mined.positives)
        self._counts["negatives"] += kept
        self._counts["queries_without_positives"] += not len(mined.positives)
        self._counts["queries_without_negatives"] += kept == 0
        self._counts["queries_with_fewer"] += kept < self._params.negatives_per_query
        self._neighbours += np.bincount(mined.neighbours.outcomes, minlength=len(Outcome))
        self._named += np.bincount(mined.named.outcomes, minlength=len(Outcome))
        self._histograms["positives"] += histogram(mined.positive_scores)
        for filtered in (mined.named, mined.neighbours):
            for name, outcomes in _HISTOGRAMS.items():
                self._histograms[name] += histogram(filtered.scores[np.isin(filtered.outcomes, outcomes)])
        if self._source.query_ids[mined.query] in self._sampled:
            self._samples.append(self._sample(mined))

    def audit(self) -> SourceAudit:
        """Return the audit of all queries added."""
        sizes = {"queries": len(self._source.query_ids), "documents": len(self._source.document_ids)}
        histograms = {name: counts.tolist() for name, counts in self._histograms.items()}
        return SourceAudit(
            counts={**sizes, **{name: int(count) for name, count in self._counts.items()}},
            neighbours=_by_name(self._neighbours),
            named=_by_name(self._named),
            histogram=CosineHistogram(edges=[round(float(edge), 2) for edge in EDGES], **histograms),
            samples=self._samples,
        )

    def _sample(self, mined: MinedQuery) -> MiningSample:
        order = np.argsort(-mined.positive_scores, kind="stable")
        positives = zip(mined.positives[order].tolist(), mined.positive_scores[order].tolist(), strict=True)
        return MiningSample(
            query_id=self._source.query_ids[mined.query],
            query=_cut(self._queries[mined.query]),
            positives=[self._document(row, score) for row, score in positives],
            negatives=[self._document(row, score) for row, score in mined.negatives()],
        )

    def _document(self, row: int, score: float) -> ScoredDocument:
        text = _cut(self._documents[row])
        return ScoredDocument(doc_id=self._source.document_ids[row], text=text, score=round(score, 6))


def histogram(scores: np.ndarray) -> np.ndarray:
    """Return how many ``scores`` lie in each bin of ``EDGES``, int64; the outer bins hold all beyond."""
    inside = np.clip(scores.astype(np.float64), EDGES[0], EDGES[-1])
    return np.histogram(inside, bins=EDGES)[0].astype(np.int64)


def _by_name(counts: np.ndarray) -> dict[str, int]:
    return {outcome.name.lower(): int(counts[outcome]) for outcome in Outcome}


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
