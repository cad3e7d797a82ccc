"""What the parity tests run in each process: an update on this process's share of some batches; gradients to a file.

Documents are shared between queries and processes, false negatives stand on other processes, and the good pairs of a
batch are spread unevenly. Everything is in float64.
"""

import sys
from pathlib import Path

import torch
from objective_params import ir_params, sts_params

from codiemb_pipeline.distributed import process_group, process_rank, world_size, wrap
from codiemb_pipeline.encoder.tokens import TokenBatch
from codiemb_pipeline.params.objectives import STS_LOSSES, MatryoshkaParams
from codiemb_pipeline.train.collate import IRBatch, STSBatch
from codiemb_pipeline.train.grad_cache import backward_at_once, backward_in_chunks
from codiemb_pipeline.train.step import Objective

TEXTS, QUERIES, SLOTS, PAIRS, CHUNK = 40, 8, 3, 12, 7
GATHERED = {"cross_device": True}

# By name: what differs in the retrieval objective, or in the similarity objective.
RETRIEVAL = {
    "ir": {},
    "ir-same-slot": {"same_slot": True},
    "ir-published-masks": {"ignore_known": False},
    "ir-margin": {"false_negative_margin": 0.05},
    "ir-symmetric": {"symmetric": 0.5},
    "ir-query-query": {"query_query": True},
    "ir-cosent": {"loss": "cosent"},
}
SETTINGS = {
    "weight": 1.0,
    "temperature": 0.1,
    "divide_by_pairs": True,
    "threshold": 0.8,
    "ignore_copies": True,
    "layer": 1,
}
ALONE = {
    name: {key: value for key, value in SETTINGS.items() if key in loss.params.model_fields}
    for name, loss in STS_LOSSES.items()
}
SIMILARITY = {**{name: {name: settings} for name, settings in ALONE.items()}, "sts": ALONE}


class TinyModel(torch.nn.Module):
    """Token ids to a last and a middle embedding, in float64."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.table = torch.nn.Embedding(TEXTS, 6, dtype=torch.float64)
        self.middle = torch.nn.Linear(6, 5, dtype=torch.float64)
        self.last = torch.nn.Linear(5, 4, dtype=torch.float64)

    def forward(self, chunks, mid_layer=None):
        middle = torch.tanh(self.middle(self.table(torch.cat([chunk.input_ids[:, 0] for chunk in chunks]))))
        embeddings = torch.nn.functional.normalize(self.last(middle), dim=-1)
        return embeddings, torch.nn.functional.normalize(middle, dim=-1) if mid_layer is not None else None


def chunks() -> list[TokenBatch]:
    """All texts, in chunks of seven, or more on later processes: they differ in how many chunks they have."""
    parts = torch.arange(TEXTS).unsqueeze(1).split(CHUNK + 3 * process_rank())
    return [TokenBatch(ids, torch.ones_like(ids), torch.zeros(len(ids), dtype=torch.long)) for ids in parts]


def ir_batch(rows: slice, seed: int) -> IRBatch:
    """Queries are texts 0 to 7; documents drawn with repeats, so some are shared between queries and processes."""
    generator = torch.Generator().manual_seed(5 + seed)
    documents = torch.randint(8, 30, (QUERIES, SLOTS), generator=generator)
    documents[1, 2] = documents[6, 0]  # a positive of query 6 stands as hard negative of query 1
    ids = documents.clone()
    ids[2, 2] = -1  # an empty slot
    ids[5, 1] = -1
    known = torch.cat([documents[:, :2], torch.full((QUERIES, 2), -1)], dim=1)
    known[5, 1] = -1
    known[0, 2] = documents[7, 0]  # a false negative on another process
    queries = torch.arange(QUERIES)
    width = 4 if rows.start == 0 else 3  # processes differ in how many positives they know of a query at most
    return IRBatch(
        chunks=chunks(),
        source="s",
        tokens=1,
        padded=1,
        query_rows=queries[rows],
        document_rows=documents[rows],
        document_ids=ids[rows],
        query_ids=queries[rows],
        known_ids=known[rows, :width],
        positives=2,
    )


def sts_batch(rows: slice, seed: int) -> STSBatch:
    """Good pairs (gold 0.8 and above) are spread unevenly: five in the first half, one in the second."""
    gold = torch.tensor([0.9, 0.8, 1.0, 0.85, 0.95, 0.1, 0.2, 0.9, 0.0, 0.3, 0.5, 0.4], dtype=torch.float64)
    a, b = torch.arange(PAIRS), (torch.arange(PAIRS) * 3 + seed) % 24 + 14
    place = {"a_rows": a[rows], "b_rows": b[rows], "a_ids": a[rows], "b_ids": b[rows]}
    return STSBatch(chunks=chunks(), source="s", tokens=1, padded=1, gold=gold[rows], **place)


def objective(case: str, *, gathered: bool) -> Objective:
    """Return the objective of a case; ``matryoshka`` is the whole of both tasks at a smaller width too."""
    ir = {"temperature": 0.1, "positives": 2, "hard_negatives": 1, "cross_device": gathered}
    similarity = sts_params(cross_device=gathered, **SIMILARITY.get(case, ALONE))
    wide = case.startswith("matryoshka")
    return Objective(
        ir=ir_params(**ir, **RETRIEVAL.get(case, {})),
        sts=similarity,
        mid_layer=1 if "mid_info_nce" in similarity.active() else None,
        matryoshka=MatryoshkaParams(dimensions=(2,), weights=(0.5,)) if wide else None,
    )


def update(case: str, share: tuple[int, int], model: torch.nn.Module, **how: object) -> list[float]:
    """Back-propagate share ``(number, of)`` of each micro-batch; return their losses.

    Args:
        case: name of an objective.
        share: which part of each batch, of how many.
        model: receives the gradients.
        how: ``gathered``, ``cached`` (GradCache) and ``micro_batches``; ``parts`` takes that many shares of each batch
            one after the other, as one process does the work of several that do not gather.
    """
    retrieval = case in RETRIEVAL or case.endswith("-ir")
    total, make = (QUERIES, ir_batch) if retrieval else (PAIRS, sts_batch)
    goal = objective(case, gathered=bool(how.get("gathered", True)))
    backward = backward_in_chunks if how.get("cached") else backward_at_once
    count, parts = int(how.get("micro_batches", 1)), int(how.get("parts", 1))
    losses = []
    for number in range(count * parts):
        seed, part = divmod(number, parts)
        place, of = (share[0], share[1]) if parts == 1 else (part, parts)
        rows = slice(place * total // of, (place + 1) * total // of)
        last = number + 1 == count * parts
        told = backward(model, make(rows, seed), goal, scale=1 / (count * parts), exchange=last)
        losses.append(float(told["loss"]))
    return losses


def updates(names: list[str], device: torch.device) -> dict[str, tuple[dict, list[float]]]:
    """Return gradients and losses of each case; what was wrapped ends with this function, before the group does."""
    found = {}
    for name in names:
        case, *flags = name.split("+")
        model = TinyModel()
        how = {"gathered": "local" not in flags, "cached": "cached" in flags}
        how["micro_batches"] = 2 if "accumulated" in flags else 1
        wrapped = wrap(model, device, sharded="sharded" in flags)
        losses = update(case, (process_rank(), world_size()), wrapped, **how)
        gradients = {key: parameter.grad for key, parameter in model.named_parameters()}
        if "sharded" in flags:
            gradients = {key: part if part is None else part.full_tensor() for key, part in gradients.items()}
        found[name] = gradients, losses
    return found


def main() -> None:
    """Write the gradients that process 0 has after the exchange, for each case named, and the losses of all."""
    torch.set_num_threads(1)
    with process_group("gloo") as device:
        found = updates(sys.argv[2:], device)
        if process_rank() == 0:
            torch.save(found, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
