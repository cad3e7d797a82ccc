"""One micro-batch: encode, gather where asked, objective. The same code for one process and for many.

A sum over own rows divided by the count of all processes is multiplied by the number of processes, because gradients
are averaged over them; where every process has the same count this is the plain mean. Knows nothing of optimisers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codiemb_pipeline.distributed import gather, gather_with_gradient, process_rank, total, world_size
from codiemb_pipeline.losses.info_nce import info_nce_sum
from codiemb_pipeline.losses.masks import candidate_masks
from codiemb_pipeline.losses.objectives import mid_info_nce_sum, sts_parts, weighted_sum
from codiemb_pipeline.losses.operands import connected_zero
from codiemb_pipeline.params.train import IRParams, STSParams
from codiemb_pipeline.train.collate import IRBatch, STSBatch


@dataclass(frozen=True)
class Objective:
    """What every step needs to know.

    Attributes:
        ir: settings of the retrieval objective.
        sts: settings of the similarity objective.
        mid_layer: the hidden state of the mid-layer part; ``None`` when it is off.
        bf16: whether the encoder runs under bf16 autocast.
    """

    ir: IRParams
    sts: STSParams
    mid_layer: int | None
    bf16: bool


def batch_loss(model: nn.Module, batch: IRBatch | STSBatch, objective: Objective) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss to differentiate and its unweighted parts by name, without gradient.

    Args:
        model: a :class:`TextEncoder`, wrapped or not.
        batch: of either task, on the model's device.
        objective: settings.
    """
    device_type = next(model.parameters()).device.type
    mid_layer = objective.mid_layer if isinstance(batch, STSBatch) else None
    with torch.autocast(device_type, dtype=torch.bfloat16, enabled=objective.bf16):
        embeddings, middle = model(batch.chunks, mid_layer)
    if isinstance(batch, IRBatch):
        loss = _ir_loss(embeddings, batch, objective.ir)
        return loss, {"info_nce": loss.detach()}
    parts = _sts_losses(embeddings, middle, batch, objective.sts)
    # Every parameter takes part in the exchange of gradients, also where only the mid-layer part has a weight.
    loss = weighted_sum(parts, sts_weights(objective.sts)) + connected_zero(embeddings)
    return loss, {name: part.detach() for name, part in parts.items()}


def sts_weights(params: STSParams) -> dict[str, float]:
    """Return the weight of each part of the similarity objective."""
    weights = {"pearson": params.pearson, "rank_kl": params.rank_kl, "pro": params.pro}
    return {**weights, "mid_info_nce": params.mid_layer.weight}


def _ir_loss(embeddings: Tensor, batch: IRBatch, params: IRParams) -> Tensor:
    queries, documents = embeddings[batch.query_rows], embeddings[batch.document_rows.flatten()]
    ids, first = batch.document_ids.flatten(), 0
    if params.cross_device:
        documents, ids, first = gather_with_gradient(documents), gather(ids), process_rank() * len(ids)
    masks = candidate_masks(
        batch.query_ids,
        batch.known_ids,
        ids,
        first_column=first,
        positives_per_query=batch.positives,
        documents_per_query=batch.document_ids.shape[1],
    )
    summed, count = info_nce_sum(
        queries,
        documents,
        masks.positive,
        masks.ignore,
        temperature=params.temperature,
    )
    return summed * world_size() / total(count).clamp(min=1)


def _sts_losses(embeddings: Tensor, middle: Tensor | None, batch: STSBatch, params: STSParams) -> dict[str, Tensor]:
    predicted = torch.cosine_similarity(embeddings[batch.a_rows], embeddings[batch.b_rows])
    gold = batch.gold.to(predicted.dtype)
    if params.cross_device:
        predicted, gold = gather_with_gradient(predicted), gather(gold)
    parts = sts_parts(
        predicted,
        gold,
        pearson_weight=params.pearson,
        rank_kl_weight=params.rank_kl,
        rank_kl_temperature=params.rank_kl_temperature,
        pro_weight=params.pro,
        pro_temperature=params.pro_temperature,
    )
    if middle is not None:
        parts["mid_info_nce"] = _mid_layer_loss(middle, batch, params)
    return parts


def _mid_layer_loss(middle: Tensor, batch: STSBatch, params: STSParams) -> Tensor:
    a, b, ids, first = middle[batch.a_rows], middle[batch.b_rows], batch.b_ids, 0
    if params.cross_device:
        b, ids, first = gather_with_gradient(b), gather(ids), process_rank() * len(b)
    # A word stands in many pairs: other copies of a pair's own texts are no negatives.
    own = batch.b_ids.unsqueeze(1)
    shape = {"first_column": first, "positives_per_query": 1, "documents_per_query": 1}
    copies = candidate_masks(batch.a_ids, own, ids, **shape).ignore
    settings = params.mid_layer
    summed, count = mid_info_nce_sum(
        a,
        b,
        batch.gold,
        copies,
        threshold=settings.threshold,
        temperature=settings.temperature,
        first_column=first,
    )
    return summed * world_size() / total(count).clamp(min=1)
