"""One micro-batch: embed, gather if configured, compute the objective. One process runs the same code as many.

A sum over own rows divided by the count of all processes is multiplied by the number of processes, because gradients
are averaged over them; where every process has the same count this is the plain mean.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from codiemb_pipeline.distributed import (
    gather,
    gather_wide,
    gather_with_gradient,
    mean_over_processes,
    process_rank,
)
from codiemb_pipeline.encoder.tokens import TokenBatch
from codiemb_pipeline.losses.cosent import cosent_retrieval
from codiemb_pipeline.losses.info_nce import info_nce_sum
from codiemb_pipeline.losses.masks import CandidateMasks, above_positive, candidate_masks, query_masks, reverse_masks
from codiemb_pipeline.losses.operands import connected_zero
from codiemb_pipeline.params.objectives import STS_LOSSES, IRParams, MatryoshkaParams, PairInfoNCEParams, STSParams
from codiemb_pipeline.schema import Task
from codiemb_pipeline.train.collate import NO_TEXT, IRBatch, STSBatch


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The settings of every step.

    Attributes:
        ir: settings of the retrieval objective.
        sts: settings of the similarity objective.
        mid_layer: the hidden state of the mid-layer part; ``None`` when it is off.
        matryoshka: smaller widths; ``None`` for none.
        bf16: whether the encoder runs under bf16 autocast.
        same_task: whether all processes work on the same task in each micro-batch; if not, none waits for another.
    """

    ir: IRParams
    sts: STSParams
    mid_layer: int | None
    matryoshka: MatryoshkaParams | None = None
    bf16: bool = False
    same_task: bool = True


def part_names(objective: Objective) -> dict[Task, list[str]]:
    """Return the names of what :func:`embedding_loss` returns for each task."""
    full = {task: [name for name, weight in parts.items() if weight > 0] for task, parts in _weights(objective).items()}
    smaller = objective.matryoshka.dimensions if objective.matryoshka else ()
    # The mid-layer loss does not depend on the Matryoshka width.
    cut = {task: [f"{n}@{d}" for d in smaller for n in names if n != "mid_info_nce"] for task, names in full.items()}
    return {task: sorted(["loss", *full[task], *cut[task]]) for task in full}


def batch_loss(model: nn.Module, batch: IRBatch | STSBatch, objective: Objective) -> tuple[Tensor, dict[str, Tensor]]:
    """Return :func:`embedding_loss` of a batch on the device of ``model``, a :class:`TextEncoder`, wrapped or not."""
    return embedding_loss(*embed(model, batch.chunks, batch, objective), batch, objective)


def embed(
    model: nn.Module, chunks: Sequence[TokenBatch], batch: IRBatch | STSBatch, objective: Objective
) -> tuple[Tensor, Tensor | None]:
    """Return the embeddings of some chunks of ``batch``, and those of the middle layer if its task wants them."""
    mid_layer = objective.mid_layer if batch.task == "sts" else None
    device_type = chunks[0].input_ids.device.type
    with torch.autocast(device_type, dtype=torch.bfloat16, enabled=objective.bf16):
        return model(chunks, mid_layer)


def embedding_loss(
    embeddings: Tensor, middle: Tensor | None, batch: IRBatch | STSBatch, objective: Objective
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss to differentiate, and a detached dict of it and its unweighted parts.

    Args:
        embeddings: (texts, D), in the order of the batch's chunks.
        middle: (texts, D) of the middle layer, or ``None``.
        batch: of either task.
        objective: settings.
    """
    # Every parameter takes part in the exchange of gradients, also where only the mid-layer part has a weight.
    loss = connected_zero(embeddings)
    logged: dict[str, Tensor] = {}
    weights = _weights(objective)[batch.task]
    for width, weight in _widths(objective.matryoshka):
        cut = embeddings if width is None else normalize(embeddings[:, :width], dim=-1)
        if isinstance(batch, IRBatch):
            parts = _ir_parts(cut, batch, objective.ir, joint=objective.same_task)
        else:
            parts = _sts_parts(cut, middle if width is None else None, batch, objective)
        if parts:
            loss = loss + weight * torch.stack([weights[name] * parts[name] for name in sorted(parts)]).sum()
        logged |= {name if width is None else f"{name}@{width}": part.detach() for name, part in parts.items()}
    return loss, {"loss": loss.detach(), **logged}


def _weights(objective: Objective) -> dict[Task, dict[str, float]]:
    """Return the weight of each part of each task's objective."""
    return {
        "ir": {objective.ir.loss: 1.0, "symmetric": objective.ir.symmetric},
        "sts": {name: settings.weight for name, settings in objective.sts.active().items()},
    }


def _widths(matryoshka: MatryoshkaParams | None) -> Iterator[tuple[int | None, float]]:
    yield None, 1.0
    if matryoshka is not None:
        yield from zip(matryoshka.dimensions, matryoshka.weights, strict=True)


def _sts_parts(embeddings: Tensor, middle: Tensor | None, batch: STSBatch, objective: Objective) -> dict[str, Tensor]:
    """Return the unweighted losses of scored pairs by name; without ``middle``, all except the mid-layer part."""
    params = objective.sts
    a, b = embeddings[batch.a_rows], embeddings[batch.b_rows]
    predicted = torch.cosine_similarity(a, b)
    gold = batch.gold.to(predicted.dtype)
    if params.cross_device:
        predicted, gold = gather_with_gradient(predicted), gather(gold)
    parts: dict[str, Tensor] = {}
    for name, settings in params.active().items():
        loss = STS_LOSSES[name]
        function = loss.load()
        options = settings.model_dump(exclude={"weight", "layer", "ignore_copies"})
        if loss.operands == "cosines":
            parts[name] = function(predicted, gold, **options)
        elif loss.operands == "embeddings":
            both = (gather_with_gradient(a), gather_with_gradient(b)) if params.cross_device else (a, b)
            parts[name] = function(*both, gold, **options)
        elif (states := middle if hasattr(settings, "layer") else embeddings) is not None:
            parts[name] = _of_good_pairs(function, states, batch, settings, objective, **options)
    return parts


def _of_good_pairs(
    function: Callable[..., tuple[Tensor, Tensor]],
    embeddings: Tensor,
    batch: STSBatch,
    settings: PairInfoNCEParams,
    objective: Objective,
    **options: Any,
) -> Tensor:
    """Return a loss between the texts of good pairs, a mean over the good pairs of all processes."""
    a, b, ids, first = embeddings[batch.a_rows], embeddings[batch.b_rows], batch.b_ids, 0
    if objective.sts.cross_device:
        b, ids, first = gather_with_gradient(b), gather(ids), process_rank() * len(b)
    # A word stands in many pairs: other copies of a pair's own texts are not negatives of it.
    own = batch.b_ids.unsqueeze(1)
    shape = {"first_column": first, "positives_per_query": 1, "documents_per_query": 1}
    copies = candidate_masks(batch.a_ids, own, ids, **shape).ignore if settings.ignore_copies else None
    summed, count = function(a, b, batch.gold, copies, first_column=first, **options)
    return mean_over_processes(summed, count, joint=objective.same_task)


@dataclass(frozen=True)
class _Side:
    """Queries: embeddings (B, D), text ids (B,), ids of their known positives (B, K)."""

    embeddings: Tensor
    ids: Tensor
    known: Tensor


def _ir_parts(embeddings: Tensor, batch: IRBatch, params: IRParams, *, joint: bool) -> dict[str, Tensor]:
    """Return the unweighted retrieval losses by name; ``joint``: the other processes have such a batch too."""
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
