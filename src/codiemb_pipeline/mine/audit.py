"""How mining went: counts by reason, histograms of similarities, and queries to look at. The report shows it.

Knows nothing of how anything was found; it only counts what it is handed.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from codiemb_pipeline.mine.judgements import MiningSource
from codiemb_pipeline.mine.mining import Judged, MinedQuery
from codiemb_pipeline.mine.negatives import Verdict
from codiemb_pipeline.params.mine import MineParams
from codiemb_pipeline.texts import hash_share

EDGES = np.linspace(-0.2, 1.0, 61)
SHOWN_CHARACTERS = 300
_DROPPED = (Verdict.OUTSIDE_WINDOW, Verdict.ABSOLUTE_MARGIN, Verdict.RELATIVE_MARGIN, Verdict.REPEATED_TEXT)


class Audit:
    """Collects the mining of one source."""

    def __init__(self, source: MiningSource, params: MineParams) -> None:
        self._source, self._params = source, params
        self._counts: Counter[str] = Counter()
        self._neighbours, self._named = (np.zeros(len(Verdict), dtype=np.int64) for _ in range(2))
        self._histograms = {name: np.zeros(len(EDGES) - 1, dtype=np.int64) for name in _HISTOGRAMS}
        order = sorted(source.query_ids, key=lambda query_id: hash_share(params.seed, "audit", query_id))
        self._sampled = set(order[: params.audit_samples])
        self._samples: list[dict[str, Any]] = []

    def add(self, mined: MinedQuery) -> None:
        """Count one query."""
        kept = len(mined.negatives())
        self._counts["positives"] += len(mined.positives)
        self._counts["negatives"] += kept
        self._counts["queries_without_positives"] += not len(mined.positives)
        self._counts["queries_without_negatives"] += kept == 0
        self._counts["queries_with_fewer"] += kept < self._params.negatives_per_query
        self._neighbours += np.bincount(mined.neighbours.verdicts, minlength=len(Verdict))
        self._named += np.bincount(mined.named.verdicts, minlength=len(Verdict))
        self._histograms["positives"] += histogram(mined.positive_scores)
        for judged in (mined.named, mined.neighbours):
            self._histograms["kept"] += histogram(_scores(judged, Verdict.KEPT))
            self._histograms["not_sampled"] += histogram(_scores(judged, Verdict.NOT_SAMPLED))
            self._histograms["dropped"] += histogram(_scores(judged, *_DROPPED))
        if self._source.query_ids[mined.query] in self._sampled:
            self._samples.append(self._sample(mined))

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as JSON types.

        ``counts``: of queries, documents, positives and kept negatives, queries that got fewer than asked (those with
        none included), and queries with none. ``neighbours`` and ``named``: documents by verdict, of those the search
        found up to ``rank_to`` and of those the source names; each sums to all that were weighed. ``histogram``: counts
        of cosines between ``edges`` (the outer bins hold all beyond): ``positives``, ``kept``, ``dropped`` (window,
        margins, repeated text) and ``not_sampled`` (would have qualified). ``samples``: queries with texts and scores,
        positives by falling score, negatives in the order kept, long texts cut.
        """
        sizes = {"queries": len(self._source.query_ids), "documents": len(self._source.document_ids)}
        return {
            "counts": {**sizes, **{name: int(count) for name, count in self._counts.items()}},
            "neighbours": _by_name(self._neighbours),
            "named": _by_name(self._named),
            "histogram": {
                "edges": [round(float(edge), 2) for edge in EDGES],
                **{name: counts.tolist() for name, counts in self._histograms.items()},
            },
            "samples": self._samples,
        }

    def _sample(self, mined: MinedQuery) -> dict[str, Any]:
        order = np.argsort(-mined.positive_scores, kind="stable")
        positives = zip(mined.positives[order].tolist(), mined.positive_scores[order].tolist(), strict=True)
        return {
            "query_id": self._source.query_ids[mined.query],
            "query": _cut(self._source.query_texts[mined.query]),
            "positives": [self._document(row, score) for row, score in positives],
            "negatives": [self._document(row, score) for row, score in mined.negatives()],
        }

    def _document(self, row: int, score: float) -> dict[str, Any]:
        text = _cut(self._source.document_texts[row])
        return {"doc_id": self._source.document_ids[row], "text": text, "score": round(score, 6)}


_HISTOGRAMS = ("positives", "kept", "dropped", "not_sampled")


def histogram(scores: np.ndarray) -> np.ndarray:
    """Return how many ``scores`` lie in each bin of ``EDGES``, int64; the outer bins hold all beyond."""
    inside = np.clip(scores.astype(np.float64), EDGES[0], EDGES[-1])
    return np.histogram(inside, bins=EDGES)[0].astype(np.int64)


def _scores(judged: Judged, *verdicts: Verdict) -> np.ndarray:
    return judged.scores[np.isin(judged.verdicts, verdicts)]


def _by_name(counts: np.ndarray) -> dict[str, int]:
    return {verdict.name.lower(): int(counts[verdict]) for verdict in Verdict}


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
