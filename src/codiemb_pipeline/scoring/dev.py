"""Dev scores of both tasks on tokenised held-out sets, by which checkpoints are compared. Test splits are not used."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from codiemb_pipeline.artifacts.assemble import DevPairs, DevRetrieval, TokenStore, read_dev
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.embedding_store import EmbeddingStore, open_store
from codiemb_pipeline.encoder.encode import encode_ids
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.params.encoder import EncoderParams
from codiemb_pipeline.scoring.metrics import ndcg_at_k, spearman
from codiemb_pipeline.scoring.search import top_k

BLOCK_QUERIES, BLOCK_DOCUMENTS = 1024, 16384

Encode = Callable[[np.ndarray], torch.Tensor]


def folder_scorer(
    params: EncoderParams, model_input: Path, *, tokens_per_chunk: int, embeddings: Path, store_gigabytes: float
) -> Callable[[Path], float]:
    """Return a function that returns the mean dev score of an encoder folder; ``embeddings`` is the store's folder."""

    def score(folder: Path) -> float:
        encoder = load_encoder(params, folder)
        known = open_store(encoder, embeddings, store_gigabytes)
        return score_encoder(encoder, model_input, tokens_per_chunk=tokens_per_chunk, known=known)["mean"]

    return score


def score_encoder(
    encoder: Encoder, model_input: Path, *, tokens_per_chunk: int, known: EmbeddingStore | None = None
) -> dict[str, float]:
    """Return the dev scores of ``encoder``, whose stored embeddings are ``known``; see :func:`score_dev`."""
    store = TokenStore(model_input / "tokens")

    def encode(texts: np.ndarray) -> torch.Tensor:
        options = {"tokens_per_chunk": tokens_per_chunk, "progress": "score on dev", "known": known}
        return encode_ids(encoder, store, texts, **options)

    return score_dev(read_dev(model_input / "dev"), encode)


def score_dev(sets: list[DevRetrieval | DevPairs], encode: Encode) -> dict[str, float]:
    """Score held-out sets.

    Args:
        sets: of either task.
        encode: maps text ids (n,) to embeddings (n, D), in this process or in all of them together.

    Returns:
        ``<source>/ndcg_at_10`` and ``<source>/cosine_spearman``, their means by task as ``ir`` and ``sts``, and
        ``mean`` of those two; a task without a set has no key.
    """
    scores: dict[str, float] = {}
    by_task: dict[str, list[float]] = {"ir": [], "sts": []}
    for held_out in sets:
        if isinstance(held_out, DevRetrieval):
            score, metric, task = _retrieval(held_out, encode), "ndcg_at_10", "ir"
        else:
            score, metric, task = _pairs(held_out, encode), "cosine_spearman", "sts"
        scores[f"{held_out.name}/{metric}"] = score
        by_task[task].append(score)
    means = {task: sum(values) / len(values) for task, values in by_task.items() if values}
    return {**scores, **means, **({"mean": sum(means.values()) / len(means)} if means else {})}


def _retrieval(held_out: DevRetrieval, encode: Encode) -> float:
    queries, documents = encode(held_out.queries), encode(held_out.documents)
    _, ranked = top_k(queries, documents, 10, block_queries=BLOCK_QUERIES, block_documents=BLOCK_DOCUMENTS)
    qrels: dict[int, dict[int, int]] = {}
    for query, document, relevance in held_out.qrels.tolist():
        qrels.setdefault(query, {})[document] = relevance
    return ndcg_at_k(ranked, qrels, 10)


def _pairs(held_out: DevPairs, encode: Encode) -> float:
    embeddings = encode(held_out.pairs.reshape(-1))
    a, b = embeddings[0::2], embeddings[1::2]
    return spearman(torch.cosine_similarity(a, b), torch.from_numpy(held_out.gold))
