"""One micro-batch: embed, gather where asked, objective. The same code for one process and for many.

A sum over own rows divided by the count of all processes is multiplied by the number of processes, because gradients
are averaged over them; where every process has the same count this is the plain mean. Knows nothing of optimisers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from codiemb_pipeline.distributed import gather, gather_with_gradient, mean_over_processes, process_rank
from codiemb_pipeline.encoder.tokens import TokenBatch
from codiemb_pipeline.losses.masks import candidate_masks
from codiemb_pipeline.losses.objectives import mid_info_nce_sum, sts_parts, weighted_sum
from codiemb_pipeline.losses.operands import connected_zero
from codiemb_pipeline.params.objectives import IRParams, MatryoshkaParams, PairInfoNCEParams, STSParams
from codiemb_pipeline.schema import Task
from codiemb_pipeline.train.collate import IRBatch, STSBatch
from codiemb_pipeline.train.step_ir import ir_parts, ir_weights


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What every step needs to know.

    Attributes:
        ir: settings of the retrieval objective.
        sts: settings of the similarity objective.
        mid_layer: the hidden state of the mid-layer part; ``None`` when it is off.
        matryoshka: smaller widths; ``None`` for none.
        bf16: whether the encoder runs under bf16 autocast.
        same_task: whether all processes work on the same task in each micro-batch; else none waits for another.
    """

    ir: IRParams
    sts: STSParams
    mid_layer: int | None
    matryoshka: MatryoshkaParams | None = None
    bf16: bool = False
    same_task: bool = True


def part_names(objective: Objective) -> dict[Task, list[str]]:
    """Return the names of what :func:`embedding_loss` tells of each task."""
    weights = {"ir": ir_weights(objective.ir), "sts": objective.sts.weights()}
    full = {task: [name for name, weight in parts.items() if weight > 0] for task, parts in weights.items()}
    smaller = objective.matryoshka.dimensions if objective.matryoshka else ()
    # The mid-layer part is no matter of the final embedding's width.
    cut = {task: [f"{n}@{d}" for d in smaller for n in names if n != "mid_info_nce"] for task, names in full.items()}
    return {task: sorted(["loss", *full[task], *cut[task]]) for task in full}


def batch_loss(model: nn.Module, batch: IRBatch | STSBatch, objective: Objective) -> tuple[Tensor, dict[str, Tensor]]:
    """Return :func:`embedding_loss` of a batch.

    Args:
        model: a :class:`TextEncoder`, wrapped or not.
        batch: of either task, on the model's device.
        objective: settings.
    """
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
    """Return the loss to differentiate, and it with its unweighted parts by name, without gradient.

    Args:
        embeddings: (texts, D), in the order of the batch's chunks.
        middle: (texts, D) of the middle layer, or ``None``.
        batch: of either task.
        objective: settings.
    """
    # Every parameter takes part in the exchange of gradients, also where only the mid-layer part has a weight.
    loss = connected_zero(embeddings)
    told: dict[str, Tensor] = {}
    for width, weight in _widths(objective.matryoshka):
        cut = embeddings if width is None else normalize(embeddings[:, :width], dim=-1)
        if isinstance(batch, IRBatch):
            parts, weights = ir_parts(cut, batch, objective.ir, joint=objective.same_task), ir_weights(objective.ir)
        else:
            parts, weights = _sts_parts(cut, middle if width is None else None, batch, objective)
        if parts:
            loss = loss + weight * weighted_sum(parts, {name: weights[name] for name in parts})
        told |= {name if width is None else f"{name}@{width}": part.detach() for name, part in parts.items()}
    return loss, {"loss": loss.detach(), **told}


def _widths(matryoshka: MatryoshkaParams | None) -> Iterator[tuple[int | None, float]]:
    yield None, 1.0
    if matryoshka is not None:
        yield from zip(matryoshka.dimensions, matryoshka.weights, strict=True)


def _sts_parts(
    embeddings: Tensor, middle: Tensor | None, batch: STSBatch, objective: Objective
) -> tuple[dict[str, Tensor], dict[str, float]]:
    params, weights = objective.sts, objective.sts.weights()
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
        rank_kl_divide_by_pairs=params.rank_kl_divide_by_pairs,
        pro_weight=params.pro,
        pro_temperature=params.pro_temperature,
        cosent_weight=params.cosent,
        cosent_temperature=params.cosent_temperature,
        cosine_weight=params.cosine,
    )
    if params.info_nce.weight > 0:
        parts["info_nce"] = _pair_info_nce(embeddings, batch, params.info_nce, objective)
    if middle is not None and params.mid_layer.weight > 0:
        parts["mid_info_nce"] = _pair_info_nce(middle, batch, params.mid_layer, objective)
    return parts, weights


def _pair_info_nce(embeddings: Tensor, batch: STSBatch, settings: PairInfoNCEParams, objective: Objective) -> Tensor:
    """Return InfoNCE between the texts of good pairs, a mean over the good pairs of all processes."""
    a, b, ids, first = embeddings[batch.a_rows], embeddings[batch.b_rows], batch.b_ids, 0
    if objective.sts.cross_device:
        b, ids, first = gather_with_gradient(b), gather(ids), process_rank() * len(b)
    # A word stands in many pairs: other copies of a pair's own texts are no negatives.
    own = batch.b_ids.unsqueeze(1)
    shape = {"first_column": first, "positives_per_query": 1, "documents_per_query": 1}
    copies = candidate_masks(batch.a_ids, own, ids, **shape).ignore if settings.ignore_copies else None
    summed, count = mid_info_nce_sum(
        a,
        b,
        batch.gold,
        copies,
        threshold=settings.threshold,
        temperature=settings.temperature,
        first_column=first,
    )
    return mean_over_processes(summed, count, joint=objective.same_task)
