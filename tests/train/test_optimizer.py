import pytest
import torch
from torch import nn

from codiemb_pipeline.train.optimizer import adamw, freeze_unreached, learning_rate


def test_rate_rises_linearly_and_falls_linearly():
    """10 steps, 20 % warm-up: 0.5, 1, then 8 steps down from 1 by ninths, never 0."""
    rates = [learning_rate(step, steps=10, warmup=0.2, highest=1.0) for step in range(1, 11)]
    assert rates == pytest.approx([1 / 2, 1, 8 / 9, 7 / 9, 6 / 9, 5 / 9, 4 / 9, 3 / 9, 2 / 9, 1 / 9])


def test_rate_without_warmup_begins_at_the_highest():
    assert learning_rate(1, steps=4, warmup=0.0, highest=2.0) == pytest.approx(2.0)


def test_vectors_are_not_decayed():
    groups = adamw(nn.Linear(3, 2), weight_decay=0.1).param_groups
    assert [(group["weight_decay"], [tuple(p.shape) for p in group["params"]]) for group in groups] == [
        (0.1, [(2, 3)]),
        (0.0, [(2,)]),
    ]


def test_parameters_no_loss_reaches_are_frozen_and_named():
    model = nn.ModuleDict({"used": nn.Linear(2, 2), "unused": nn.Linear(2, 2)})
    assert freeze_unreached(model, model["used"](torch.ones(1, 2)).sum()) == ["unused.weight", "unused.bias"]
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["used.weight", "used.bias"]
