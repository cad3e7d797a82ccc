"""From embeddings and neighbours to the hard negatives of every training query of one source.

Knows nothing of how texts became vectors, or how neighbours were found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from codiemb_pipeline.mine.judgements import MiningSource
from codiemb_pipeline.mine.negatives import Limits, Verdict, judge_named, judge_neighbours, sample
from codiemb_pipeline.mine.vectors import Vectors
from codiemb_pipeline.params.mine import MineParams
from codiemb_pipeline.texts import hash_share


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Documents weighed for one query: row in the corpus, cosine and verdict of each, arrays of one length."""

    rows: np.ndarray
    scores: np.ndarray
    verdicts: np.ndarray

    def kept(self) -> list[tuple[int, float]]:
        """Return row and score of those kept, in order."""
        keep = self.verdicts == Verdict.KEPT
        return list(zip(self.rows[keep].tolist(), self.scores[keep].tolist(), strict=True))


@dataclass(frozen=True, kw_only=True)
class MinedQuery:
    """What mining found for one query.

    Attributes:
        query: its place among the training queries.
        positives: rows of its positives, int64 (P,).
        positive_scores: their cosines, float32 (P,).
        named: the negatives that the source names; they come first and pass no window or margin.
        neighbours: what the search found, up to ``rank_to``.
    """

    query: int
    positives: np.ndarray
    positive_scores: np.ndarray
    named: Judged
    neighbours: Judged

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
        source: judgements of the Q training queries and N documents.
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
    """Judge the named negatives and the neighbours of one query; one without positives gets no negatives."""
    truth, named_rows = source.truths[query], source.named[query]
    if not len(truth.positives):
        rows, scores, named_rows = rows[:0], scores[:0], named_rows[:0]
    positive_scores = (documents[truth.positives] @ embedding).numpy()
    named_scores = (documents[named_rows] @ embedding).numpy()
    verdicts = judge_named(named_rows, source.groups[named_rows], truth)
    verdicts = sample(verdicts, _draws(source, query, named_rows, params.seed), params.negatives_per_query)
    named = Judged(rows=named_rows, scores=named_scores, verdicts=verdicts)
    taken = np.array([row for row, _ in named.kept()], dtype=np.int64)
    verdicts = judge_neighbours(
        rows,
        source.groups[rows],
        scores,
        truth=truth,
        taken=source.groups[taken],
        best_positive=float(positive_scores.max(initial=-np.inf)),
        limits=Limits(**params.model_dump(include=set(Limits.__dataclass_fields__))),
    )
    rows, scores = rows[: len(verdicts)], scores[: len(verdicts)]
    draws = _draws(source, query, rows, params.seed)
    verdicts = sample(verdicts, draws, params.negatives_per_query - len(taken))
    neighbours = Judged(rows=rows, scores=scores, verdicts=verdicts)
    return MinedQuery(
        query=query, positives=truth.positives, positive_scores=positive_scores, named=named, neighbours=neighbours
    )


def _draws(source: MiningSource, query: int, rows: np.ndarray, seed: int) -> np.ndarray:
    """Return a random number for each document that depends on seed, query and document alone.

    So a query's sample stays what it is when queries are added, and all but stays when documents are.
    """
    query_id = source.query_ids[query]
    return np.array([hash_share(seed, "mine", query_id, source.document_ids[row]) for row in rows], dtype=np.float64)
