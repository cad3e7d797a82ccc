"""No loss reads a value back to the host: on a GPU each such read waits for all work queued before it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import codiemb_pipeline.losses as losses
from codiemb_pipeline.losses.cosent import cosent_retrieval
from codiemb_pipeline.losses.finite import values_may_be_read
from codiemb_pipeline.losses.info_nce import info_nce
from codiemb_pipeline.losses.masks import candidate_masks
from codiemb_pipeline.losses.objectives import mid_info_nce_sum, sts_parts, weighted_sum
from codiemb_pipeline.losses.query_masks import above_positive, query_masks, reverse_masks

# finite.py alone looks at values, and on the CPU only; the tests below run without it, as on an accelerator.
SOURCES = sorted(path for path in Path(losses.__file__).parent.glob("*.py") if path.name != "finite.py")
READS = {"item", "cpu", "tolist", "numpy", "nonzero", "unique", "masked_select", "synchronize"}
# Results whose size depends on the values: CUDA has to read the size back.
DATA_DEPENDENT = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive"}


class HostTransferError(Exception):
    """An operation read a value back."""


class NoHostTransfer(TorchDispatchMode):
    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        boolean_index = name == "index" and any(index is not None and index.dtype == torch.bool for index in args[1])
        if name in DATA_DEPENDENT or boolean_index:
            raise HostTransferError(name)
        return operation(*args, **(kwargs or {}))


def test_all_files_of_the_folder_are_looked_at():
    assert {"info_nce", "masks", "objectives", "pearson", "pro", "rank_kl", "ranking"} <= {p.stem for p in SOURCES}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_defect_10_the_source_calls_nothing_that_reads_back(source):
    tree = ast.parse(source.read_text("utf-8"))
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    converted = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and hasattr(node.func, "id")}
    assert (called & READS, converted & {"bool", "float", "int"}) == (set(), set())


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_defect_10_the_source_has_no_loop(source):
    tree = ast.parse(source.read_text("utf-8"))
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.For | ast.While)] == []


@pytest.mark.parametrize(
    "read",
    [lambda x: x.item(), lambda x: bool(x > 0), float, lambda x: x.reshape(1)[x.reshape(1) > 0]],
    ids=["item", "bool", "float", "boolean index"],
)
def test_the_guard_notices(read):
    with NoHostTransfer(), pytest.raises(HostTransferError):
        read(torch.tensor(1.0))


def test_the_look_at_values_is_for_the_cpu_alone():
    assert values_may_be_read(torch.zeros(1))
    assert not values_may_be_read(torch.zeros(1, device="meta"))


@pytest.mark.usefixtures("as_on_an_accelerator")
@pytest.mark.parametrize("gold", [[0.0, 0.9, 0.4, 0.4], [0.5] * 4], ids=["varied gold", "constant gold"])
def test_the_similarity_objective_runs_forward_and_backward_without_a_transfer(gold):
    predicted, gold = torch.tensor([0.1, -0.3, 0.5, 0.45], requires_grad=True), torch.tensor(gold)
    a, b = (torch.rand(4, 3, requires_grad=True) for _ in range(2))
    weights = {"pearson": 2.0, "rank_kl": 5.0, "pro": 0.5, "mid_info_nce": 1.0, "cosent": 1.0, "cosine": 1.0}
    with NoHostTransfer():
        parts = sts_parts(
            predicted,
            gold,
            pearson_weight=2.0,
            rank_kl_weight=5.0,
            rank_kl_temperature=0.05,
            pro_weight=0.5,
            pro_temperature=0.05,
            cosent_weight=1.0,
            cosine_weight=1.0,
        )
        total, count = mid_info_nce_sum(a, b, gold, threshold=0.4, temperature=0.02)
        weighted_sum(parts | {"mid_info_nce": total / count.clamp(min=1)}, weights).backward()
    assert predicted.grad is not None
    assert a.grad is not None


@pytest.mark.usefixtures("as_on_an_accelerator")
@pytest.mark.parametrize("by_slot", [False, True])
def test_the_retrieval_objective_runs_forward_and_backward_without_a_transfer(by_slot):
    queries, documents = torch.rand(2, 3, requires_grad=True), torch.rand(12, 3, requires_grad=True)
    query_ids, known, ids = torch.tensor([50, 51]), torch.tensor([[1, 2], [4, -1]]), torch.arange(12) % 7
    with NoHostTransfer():
        masks = candidate_masks(query_ids, known, ids, first_column=6, positives_per_query=2, documents_per_query=3)
        slots = masks.slots if by_slot else None
        info_nce(
            queries, documents, masks.positive, masks.ignore, temperature=0.02, slots=slots, slot_count=2
        ).backward()
        above = above_positive(queries, documents, masks.positive, margin=0.1)
        cosent_retrieval(queries, documents, masks.positive, masks.ignore | above, temperature=0.05).backward()
        others = query_masks(query_ids, known, query_ids, known, first_row=0)
        info_nce(queries, queries, torch.zeros_like(others), others, temperature=0.02).backward()
        positive, ignore = reverse_masks(ids[:2], torch.arange(2), query_ids, known)
        info_nce(documents[:2], queries, positive, ignore, temperature=0.02).backward()
    assert queries.grad is not None
    assert documents.grad is not None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_never_waits_in_a_loss():
    predicted = torch.rand(64, device="cuda", requires_grad=True)
    gold = (torch.rand(64, device="cuda") * 5).round() / 5
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        parts = sts_parts(
            predicted,
            gold,
            pearson_weight=2.0,
            rank_kl_weight=5.0,
            rank_kl_temperature=0.05,
            pro_weight=0.5,
            pro_temperature=0.05,
        )
        weighted_sum(parts, {"pearson": 2.0, "rank_kl": 5.0, "pro": 0.5}).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert predicted.grad.isfinite().all()
