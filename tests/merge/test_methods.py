"""Whole rules on tensors in memory, by hand, and delta-guided fusion on two levels."""

import math

import pytest
import torch
from tiny_folders import FUSION, RECIPES, Tensors, fuse_in_memory

ONE_RUN = ["main/1", "main/2", "main/3"]


def two_runs() -> tuple[Tensors, dict[str, Tensors]]:
    """Base 0; run a moves (3, 4) and (0, 10), run b (2, 0)."""
    base = {"layer.0.x": torch.zeros(2)}
    moves = {"a/1": [3.0, 4.0], "a/2": [0.0, 10.0], "b/1": [2.0, 0.0]}
    return base, {name: {"layer.0.x": torch.tensor(move)} for name, move in moves.items()}


def test_task_arithmetic_by_hand():
    """(1, 1) + 0.4 ((2, 0) + (1, -5)) = (2.2, -1)."""
    base = {"x": torch.ones(2)}
    candidates = {"main/1": {"x": torch.tensor([3.0, 1.0])}, "main/2": {"x": torch.tensor([2.0, -4.0])}}
    merged, weights = fuse_in_memory(RECIPES["task_arithmetic"], base, candidates)
    assert merged["x"].tolist() == pytest.approx([2.2, -1.0])
    assert weights["x"] == pytest.approx([0.4, 0.4])


def test_model_stock_by_hand():
    """Moves (2, 0) and (1, sqrt 3) from (1, 1), both of length 2 at 60 degrees: t = 2 * 0.5 / 1.5 = 2/3.

    Mean move (1.5, sqrt 3 / 2), so (1, 1) + 2/3 of it: (2, 1 + sqrt 3 / 3); each candidate counts 1/3.
    """
    base = {"x": torch.ones(2)}
    candidates = {"main/1": {"x": torch.tensor([3.0, 1.0])}, "main/2": {"x": torch.tensor([2.0, 1 + math.sqrt(3)])}}
    merged, weights = fuse_in_memory(RECIPES["model_stock"], base, candidates)
    assert merged["x"].tolist() == pytest.approx([2.0, 1 + math.sqrt(3) / 3], rel=1e-6)
    assert weights["x"] == pytest.approx([1 / 3, 1 / 3], rel=1e-6)


def test_slerp_interpolates_weights_not_moves():
    """From (2, 0) to (0, 3), a third of 90 degrees: (2 cos 30, 3 sin 30), whatever base is."""
    base = {"x": torch.tensor([10.0, -5.0])}
    candidates = {"a/1": {"x": torch.tensor([2.0, 0.0])}, "b/1": {"x": torch.tensor([0.0, 3.0])}}
    merged, _ = fuse_in_memory({"method": "slerp", "t": 1 / 3}, base, candidates)
    assert merged["x"].tolist() == pytest.approx([math.sqrt(3), 1.5], rel=1e-6)


def test_two_levels_per_tensor_by_hand():
    """Within a: norms 5 and 10, weights 1/3 and 2/3, fused (1, 8), norm sqrt 65. Within b: (2, 0), norm 2.

    Across, with s = sqrt 65 + 2: a counts sqrt 65 / s, b 2 / s; result (sqrt 65 (1, 8) + 2 (2, 0)) / s.
    """
    merged, weights = fuse_in_memory(FUSION | {"method": "delta_guided", "levels": 2}, *two_runs())
    root, total = math.sqrt(65), math.sqrt(65) + 2
    assert weights["layer.0.x"] == pytest.approx([root / total / 3, root / total * 2 / 3, 2 / total])
    assert merged["layer.0.x"].tolist() == pytest.approx([(root + 4) / total, 8 * root / total], rel=1e-6)


def test_two_levels_per_element_by_hand():
    """Element 0: a has 3 and 0, fused 3; b has 2: weights 3/5 and 2/5: 9/5 + 4/5 = 2.6.

    Element 1: a has 4 and 10, fused 4 * 4/14 + 10 * 10/14 = 116/14; b has 0, so a takes all.
    """
    recipe = FUSION | {"method": "delta_guided", "levels": 2, "granularity": "element"}
    merged, weights = fuse_in_memory(recipe, *two_runs())
    assert merged["layer.0.x"].tolist() == pytest.approx([2.6, 116 / 14], rel=1e-6)
    assert weights["layer.0.x"] == pytest.approx([(0.6 + 4 / 14) / 2, (0 + 10 / 14) / 2, 0.2])


@pytest.mark.parametrize("granularity", ["layer", "model"])
def test_two_levels_over_several_tensors_by_hand(granularity):
    """A second tensor moves by 12, 0 and 0: norms 13 and 10 in a, 2 in b.

    Within a: 13/23 and 10/23, fused (39, 152) / 23 and 156 / 23, norm sqrt(39^2 + 152^2 + 156^2) / 23. Within b: 2.
    """
    base, candidates = two_runs()
    base["layer.0.y"] = torch.zeros(1)
    for name, tensors in candidates.items():
        tensors["layer.0.y"] = torch.tensor([12.0 if name == "a/1" else 0.0])
    recipe = FUSION | {"method": "delta_guided", "levels": 2, "granularity": granularity}
    merged, weights = fuse_in_memory(recipe, base, candidates)
    moved = math.sqrt(39**2 + 152**2 + 156**2) / 23
    run = moved / (moved + 2)
    for name in base:
        assert weights[name] == pytest.approx([run * 13 / 23, run * 10 / 23, 1 - run])
    assert merged["layer.0.x"].tolist() == pytest.approx([run * 39 / 23 + (1 - run) * 2, run * 152 / 23], rel=1e-6)
    assert merged["layer.0.y"].tolist() == pytest.approx([run * 156 / 23], rel=1e-6)


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
@pytest.mark.parametrize("weighting", ["proportional", "inverse", "softmax"])
@pytest.mark.parametrize("granularity", ["element", "tensor", "layer", "model"])
def test_with_one_run_two_levels_equal_one(granularity, weighting, norm):
    generator = torch.Generator().manual_seed(6)
    base = {name: torch.randn(3, 2, generator=generator) for name in ("layer.0.x", "layer.1.x", "layer.1.y")}
    candidates = {
        run: {name: tensor + torch.randn(3, 2, generator=generator) for name, tensor in base.items()} for run in ONE_RUN
    }
    recipe = FUSION | {"method": "delta_guided", "granularity": granularity, "weighting": weighting, "norm": norm}
    one, one_weights = fuse_in_memory(recipe, base, candidates)
    two, two_weights = fuse_in_memory(recipe | {"levels": 2}, base, candidates)
    assert one_weights == two_weights
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name])
