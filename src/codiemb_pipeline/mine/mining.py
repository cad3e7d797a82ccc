"""From embeddings and neighbours to the hard negatives of every training query of one source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from codiemb_pipeline.mine.negatives import Limits, Outcome, filter_named, filter_neighbours, sample
from codiemb_pipeline.mine.relevance import MiningSource
from codiemb_pipeline.mine.vectors import Vectors
from codiemb_pipeline.params.mine import MineParams
from codiemb_pipeline.texts import hash_share


@dataclass(frozen=True, kw_only=True)
class Filtered:
    """Documents considered for one query: row in the corpus, cosine and outcome of each, arrays of one length."""

    rows: np.ndarray
    scores: np.ndarray
    outcomes: np.ndarray

    def kept(self) -> list[tuple[int, float]]:
        """Return row and score of those kept, in order."""
        keep = self.outcomes == Outcome.KEPT
        return list(zip(self.rows[keep].tolist(), self.scores[keep].tolist(), strict=True))


@dataclass(frozen=True, kw_only=True)
class MinedQuery:
    """What mining found for one query.

    Attributes:
        query: its index among the training queries.
        positives: rows of its positives, int64 (P,).
        positive_scores: their cosines, float32 (P,).
        named: the negatives that the source names; they come first and pass no window or margin.
        neighbours: what the search found, up to ``rank_to``.
    """

    query: int
    positives: np.ndarray
    positive_scores: np.ndarray
    named: Filtered
    neighbours: Filtered

    def negatives(self) -> list[tuple[int, float]]:
        """Return row and cosine of its hard negatives: those named, then those mined by rank."""
        return self.named.kept() + self.neighbours.kept()


def mine_source(
    source: MiningSource,
    queries: Vectors | torch.Tensor,
    documents: Vectors | torch.Tensor,
    neighbours: Iterable[tuple[np.ndarray, np.ndarray]],
    params: MineParams,
) -> Iterator[MinedQuery]:
    """Yield what was found for each training query, in order.

    Args:
        source: relevance of the Q training queries and N documents.
        queries: embeddings (Q, D) of length one.
        documents: embeddings (N, D) of length one.
        neighbours: cosines and rows (B, k) of the documents nearest to the queries of each block, best first; so many
            that ``rank_to`` remain after the positives of any query of the block, and texts equal to them, are gone.
        params: window, margins and seed.
    """
    with tqdm(total=len(queries), desc=f"mine {source.name}", unit="query", disable=None, leave=False) as bar:
        query = 0
        for scores, rows in neighbours:
            for its_scores, its_rows in zip(scores, rows, strict=True):
                yield _mine_query(source, query, its_scores, its_rows, queries[query], documents, params)
                query += 1
                bar.update()


def _mine_query(
    source: MiningSource,
    query: int,
    scores: np.ndarray,
    rows: np.ndarray,
    embedding: torch.Tensor,
    documents: Vectors | torch.Tensor,
    params: MineParams,
) -> MinedQuery:
    """Filter the named negatives and the neighbours of one query; one without positives gets no negatives."""
    known, named_rows = source.known[query], source.named[query]
    if not len(known.positives):
        rows, scores, named_rows = rows[:0], scores[:0], named_rows[:0]
    positive_scores = (documents[known.positives] @ embedding).numpy()
    named_scores = (documents[named_rows] @ embedding).numpy()
    outcomes = filter_named(named_rows, source.groups[named_rows], known)
    outcomes = sample(outcomes, _draws(source, query, named_rows, params.seed), params.negatives_per_query)
    named = Filtered(rows=named_rows, scores=named_scores, outcomes=outcomes)
    taken = np.array([row for row, _ in named.kept()], dtype=np.int64)
    outcomes = filter_neighbours(
        rows,
        source.groups[rows],
        scores,
        known=known,
        taken=source.groups[taken],
        best_positive=float(positive_scores.max(initial=-np.inf)),
        limits=Limits(**params.model_dump(include=set(Limits.__dataclass_fields__))),
    )
    rows, scores = rows[: len(outcomes)], scores[: len(outcomes)]
    draws = _draws(source, query, rows, params.seed)
    outcomes = sample(outcomes, draws, params.negatives_per_query - len(taken))
    neighbours = Filtered(rows=rows, scores=scores, outcomes=outcomes)
    return MinedQuery(
        query=query, positives=known.positives, positive_scores=positive_scores, named=named, neighbours=neighbours
    )


def _draws(source: MiningSource, query: int, rows: np.ndarray, seed: int) -> np.ndarray:
    """Return a random number for each document that depends on seed, query and document alone.

    So a query's sample is unaffected by new queries, and nearly so by new documents.
    """
    query_id = source.query_ids[query]
    return np.array([hash_share(seed, "mine", query_id, source.document_ids[row]) for row in rows], dtype=np.float64)
