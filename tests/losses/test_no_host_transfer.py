"""No loss reads a value back to the host: on a GPU each such read waits for all work queued before it."""

import pytest
import torch
from objective_params import info_nce
from torch.utils._python_dispatch import TorchDispatchMode

from codiemb_pipeline.losses.cosent import cosent_retrieval
from codiemb_pipeline.losses.masks import above_positive, candidate_masks, query_masks, reverse_masks
from codiemb_pipeline.losses.operands import values_may_be_read
from codiemb_pipeline.params.objectives import STS_LOSSES

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


def _loss(name, a, b, gold):
    """Return similarity loss ``name`` of embeddings (n, D) and gold (n,), whatever its operands are."""
    loss = STS_LOSSES[name]
    settings = {"temperature": 0.05, "threshold": 0.4, "divide_by_pairs": True}
    options = {key: value for key, value in settings.items() if key in loss.params.model_fields}
    if loss.operands == "cosines":
        return loss.load()(torch.cosine_similarity(a, b), gold, **options)
    if loss.operands == "embeddings":
        return loss.load()(a, b, gold, **options)
    total, count = loss.load()(a, b, gold, **options)
    return total / count.clamp(min=1)


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
@pytest.mark.parametrize("name", STS_LOSSES)
@pytest.mark.parametrize("gold", [[0.0, 0.9, 0.4, 0.4], [0.5] * 4], ids=["varied gold", "constant gold"])
def test_defect_10_a_similarity_loss_runs_forward_and_backward_without_a_transfer(name, gold):
    a, b = (torch.rand(4, 6, requires_grad=True) for _ in range(2))
    with NoHostTransfer():
        _loss(name, a, b, torch.tensor(gold)).backward()
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
    a, b = (torch.rand(64, 32, device="cuda", requires_grad=True) for _ in range(2))
    gold = (torch.rand(64, device="cuda") * 5).round() / 5
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for name in STS_LOSSES:
            _loss(name, a, b, gold).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert a.grad.isfinite().all()
