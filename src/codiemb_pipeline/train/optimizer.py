"""AdamW's parameter groups and the learning rate of a step."""

import torch
from torch import nn


def adamw(model: nn.Module, *, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW over the parameters that train; vectors (biases, norms) do not decay. The rate is set per step."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, fused=True)


def learning_rate(step: int, *, steps: int, warmup: float, highest: float) -> float:
    """Return the rate of update ``step`` (1 to ``steps``): a linear rise over the warm-up share, then a linear fall.

    The fall reaches 0 one update after the last, so that every update moves the weights.
    """
    rise = round(steps * warmup)
    if step <= rise:
        return highest * step / rise
    return highest * (steps + 1 - step) / (steps + 1 - max(rise, 1))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def freeze_unreached(model: nn.Module, loss: torch.Tensor) -> list[str]:
    """Freeze the parameters that ``loss`` does not reach (such as an unused pooler head) and return their names.

    They are exported unchanged, and no gradient exchange waits for them.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, [parameter for _, parameter in named], allow_unused=True)
    frozen = [name for (name, _), gradient in zip(named, gradients, strict=True) if gradient is None]
    for name, parameter in named:
        parameter.requires_grad_(name not in frozen)
    return frozen
