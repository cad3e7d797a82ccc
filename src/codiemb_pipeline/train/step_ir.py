"""The retrieval objective of one micro-batch: own queries against the documents of all processes.

Knows nothing of encoders or optimisers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from codiemb_pipeline.distributed import (
    gather,
    gather_wide,
    gather_with_gradient,
    mean_over_processes,
    process_rank,
)
from codiemb_pipeline.losses.cosent import cosent_retrieval
from codiemb_pipeline.losses.info_nce import info_nce_sum
from codiemb_pipeline.losses.masks import CandidateMasks, candidate_masks
from codiemb_pipeline.losses.query_masks import above_positive, query_masks, reverse_masks
from codiemb_pipeline.params.objectives import IRParams
from codiemb_pipeline.train.collate import NO_TEXT, IRBatch


def ir_weights(params: IRParams) -> dict[str, float]:
    """Return the weight of each part of the retrieval objective."""
    return {params.loss: 1.0, "symmetric": params.symmetric}


@dataclass(frozen=True)
class _Side:
    """Queries with what masks want to know of them: embeddings (B, D), ids (B,), known positives (B, K)."""

    embeddings: Tensor
    ids: Tensor
    known: Tensor


def ir_parts(embeddings: Tensor, batch: IRBatch, params: IRParams, *, joint: bool) -> dict[str, Tensor]:
    """Return the retrieval losses of a batch by name, *not* multiplied by their weights.

    Args:
        embeddings: (texts, D), in the order of the batch's chunks.
        batch: on the same device.
        params: settings.
        joint: whether the other processes have a batch of this task too.
    """
    own = _Side(embeddings[batch.query_rows], batch.query_ids, batch.known_ids)
    documents, ids, first = embeddings[batch.document_rows.flatten()], batch.document_ids.flatten(), 0
    if params.cross_device:
        documents, ids, first = gather_with_gradient(documents), gather(ids), process_rank() * len(ids)
    if params.loss == "cosent":
        # Pairs of all queries are compared with each other, so every process computes the joint loss whole.
        queries, first = (_gathered(own), 0) if params.cross_device else (own, first)
        masks = _masks(queries, documents, ids, first, batch, params)
        loss = cosent_retrieval(
            queries.embeddings, documents, masks.positive, masks.ignore, temperature=params.temperature
        )
        return {"cosent": loss}
    masks = _masks(own, documents, ids, first, batch, params)
    everyone, first_row = (_gathered(own), process_rank() * len(own.ids)) if params.cross_device else (own, 0)
    parts = {"info_nce": _to_documents(own, documents, masks, everyone, first_row, batch, params)}
    if params.symmetric > 0:
        parts["symmetric"] = _to_queries(documents, ids, first, everyone, first_row, batch, params)
    return {name: mean_over_processes(*part, joint=joint) for name, part in parts.items()}


def _to_documents(
    own: _Side,
    documents: Tensor,
    masks: CandidateMasks,
    everyone: _Side,
    first_row: int,
    batch: IRBatch,
    params: IRParams,
) -> tuple[Tensor, Tensor]:
    """Return InfoNCE from own queries to the documents, as a sum and a count; other queries are candidates if asked."""
    positive, ignore, slots = masks
    if params.query_query:
        others = query_masks(own.ids, own.known, everyone.ids, everyone.known, first_row=first_row)
        documents = torch.cat([documents, everyone.embeddings])
        positive = torch.cat([positive, torch.zeros_like(others)], dim=1)
        ignore = torch.cat([ignore, others], dim=1)
        slots = torch.cat([slots, slots.new_full((len(everyone.ids),), -1)])
    return info_nce_sum(
        own.embeddings,
        documents,
        positive,
        ignore,
        temperature=params.temperature,
        slots=slots if params.same_slot else None,
        slot_count=batch.positives,
    )


def _to_queries(
    documents: Tensor, ids: Tensor, first: int, everyone: _Side, first_row: int, batch: IRBatch, params: IRParams
) -> tuple[Tensor, Tensor]:
    """Return InfoNCE from own positives to the queries of all, as a sum and a count."""
    queries, width = batch.document_ids.shape
    rows = torch.arange(queries, device=ids.device)
    columns = (first + rows[:, None] * width + torch.arange(batch.positives, device=ids.device)).flatten()
    owners = (first_row + rows).repeat_interleave(batch.positives)
    positive, ignore = reverse_masks(ids[columns], owners, everyone.ids, everyone.known)
    return info_nce_sum(documents[columns], everyone.embeddings, positive, ignore, temperature=params.temperature)


def _gathered(own: _Side) -> _Side:
    """Return the queries of all processes."""
    return _Side(gather_with_gradient(own.embeddings), gather(own.ids), gather_wide(own.known, fill=NO_TEXT))


def _masks(
    queries: _Side, documents: Tensor, ids: Tensor, first: int, batch: IRBatch, params: IRParams
) -> CandidateMasks:
    masks = candidate_masks(
        queries.ids,
        queries.known,
        ids,
        first_column=first,
        positives_per_query=batch.positives,
        documents_per_query=batch.document_ids.shape[1],
        ignore_known=params.ignore_known,
    )
    if params.false_negative_margin is None:
        return masks
    above = above_positive(queries.embeddings, documents, masks.positive, margin=params.false_negative_margin)
    return masks._replace(ignore=masks.ignore | above)
