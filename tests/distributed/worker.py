"""What the two-process tests run in each process: one loss on this process's share of a batch; gradients to a file."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from codiemb_pipeline.distributed import process_group, process_rank, world_size, wrap
from codiemb_pipeline.encoder.tokens import TokenBatch
from codiemb_pipeline.params.train import IRParams, MidLayerParams, STSParams
from codiemb_pipeline.train.collate import IRBatch, STSBatch
from codiemb_pipeline.train.step import Objective, batch_loss

TEXTS, QUERIES, SLOTS, PAIRS = 40, 8, 3, 12


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
    ids = torch.arange(TEXTS).unsqueeze(1)
    return [TokenBatch(ids, torch.ones_like(ids), torch.zeros(TEXTS, dtype=torch.long))]


def ir_batch(rows: slice) -> IRBatch:
    """Queries are texts 0 to 7; documents drawn with repeats, so some are shared between queries and processes."""
    generator = torch.Generator().manual_seed(5)
    documents = torch.randint(8, 30, (QUERIES, SLOTS), generator=generator)
    documents[1, 2] = documents[6, 0]  # a positive of query 6 stands as hard negative of query 1
    ids = documents.clone()
    ids[2, 2] = -1  # an empty slot
    known = torch.cat([documents[:, :1], torch.full((QUERIES, 1), -1)], dim=1)
    known[0, 1] = documents[7, 0]  # a false negative on another process
    queries = torch.arange(QUERIES)
    return IRBatch(
        chunks=chunks(),
        source="s",
        tokens=1,
        padded=1,
        query_rows=queries[rows],
        document_rows=documents[rows],
        document_ids=ids[rows],
        query_ids=queries[rows],
        known_ids=known[rows],
        positives=1,
    )


def sts_batch(rows: slice) -> STSBatch:
    """Good pairs (gold 0.8 and above) are spread unevenly: five in the first half, one in the second."""
    gold = torch.tensor([0.9, 0.8, 1.0, 0.85, 0.95, 0.1, 0.2, 0.9, 0.0, 0.3, 0.5, 0.4], dtype=torch.float64)
    a, b = torch.arange(PAIRS), torch.arange(PAIRS) + 14
    place = {"a_rows": a[rows], "b_rows": b[rows], "a_ids": a[rows], "b_ids": b[rows]}
    return STSBatch(chunks=chunks(), source="s", tokens=1, padded=1, gold=gold[rows], **place)


def objective(task: str) -> Objective:
    ir = IRParams(temperature=0.1, positives=1, hard_negatives=2, cross_device=True)
    only_mid = task == "mid"
    weight = 0.0 if only_mid else 1.0
    mid = MidLayerParams(weight=1.0, layer=1, threshold=0.8, temperature=0.1)
    temperatures = {"rank_kl_temperature": 0.1, "pro_temperature": 0.1}
    sts = STSParams(pearson=weight, rank_kl=weight, pro=weight, mid_layer=mid, cross_device=True, **temperatures)
    return Objective(ir, sts, mid_layer=1, bf16=False)


def gradients(task: str, count: int, rank: int, model: torch.nn.Module) -> None:
    """Back-propagate the loss of share ``rank`` of ``count`` shares."""
    total = QUERIES if task == "ir" else PAIRS
    rows = slice(rank * total // count, (rank + 1) * total // count)
    batch = ir_batch(rows) if task == "ir" else sts_batch(rows)
    loss, _ = batch_loss(model, batch, objective(task))
    loss.backward()


def main() -> None:
    """Write the gradients that process 0 has after the exchange."""
    torch.set_num_threads(1)
    task, out = sys.argv[1], Path(sys.argv[2])
    with process_group("gloo") as device:
        model = TinyModel()
        gradients(task, world_size(), process_rank(), wrap(model, device))
        if process_rank() == 0:
            torch.save({name: parameter.grad for name, parameter in model.named_parameters()}, out)


if __name__ == "__main__":
    main()
