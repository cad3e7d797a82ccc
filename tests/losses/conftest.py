"""What the tests of the losses share."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

Gradients = Callable[..., tuple[Tensor, list[Tensor | None]]]


@pytest.fixture
def value_and_gradients() -> Gradients:
    """A function that evaluates a loss on copies of tensors and returns its value and the gradient by each."""

    def evaluate(loss: Callable[..., Tensor], *tensors: Tensor) -> tuple[Tensor, list[Tensor | None]]:
        leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
        value = loss(*leaves)
        value.backward()
        return value.detach(), [leaf.grad for leaf in leaves]

    return evaluate


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(49)


@pytest.fixture
def as_on_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses take their operands for tensors whose values cannot be read for free."""
    monkeypatch.setattr("codiemb_pipeline.losses.operands.values_may_be_read", lambda tensor: False)
