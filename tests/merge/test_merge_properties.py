"""What must hold for every method, on random tiny models."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_folders import FUSION, RECIPES, Tensors, fuse_in_memory

DELTA_GUIDED = {
    f"{granularity}-{weighting}-{levels}": FUSION
    | {"method": "delta_guided", "granularity": granularity, "weighting": weighting, "levels": levels, "tau": 0.5}
    for granularity in ("element", "tensor", "layer", "model")
    for weighting in ("proportional", "inverse", "softmax")
    for levels in (1, 2)
}
PLAIN = {name: RECIPES[name] for name in ("uniform", "greedy", "best", "model_stock")}
OF_ANY_SCALE = {"task_arithmetic": RECIPES["task_arithmetic"], "ties": RECIPES["ties"]}
AVERAGING = {**{name: RECIPES[name] for name in ("uniform", "greedy", "best")}, **DELTA_GUIDED}
SHAPES = {"embeddings.w": (4, 3), "layer.0.a": (3,), "layer.0.b": (2, 2), "layer.1.a": (1,), "scale": ()}
CALM = settings(max_examples=12, deadline=None)


def random_model(generator: torch.Generator) -> Tensors:
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def case(seed: int, count: int) -> tuple[Tensors, dict[str, Tensors], list[float]]:
    """Return a base, ``count`` candidates in two runs (as even as can be) and their distinct scores."""
    generator = torch.Generator().manual_seed(seed)
    base = random_model(generator)
    names = [f"{'ab'[place % 2]}/{place}" for place in range(count)]
    candidates = {name: random_model(generator) for name in sorted(names)}
    return base, candidates, torch.randperm(count, generator=generator).double().tolist()


def assert_close(one: Tensors, other: Tensors, tolerance: float = 1e-5) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.allclose(tensor, other[name], atol=tolerance, rtol=tolerance), name


def each(recipes: dict[str, dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("recipe", recipes.values(), ids=recipes.keys())


@each({**PLAIN, **DELTA_GUIDED, "slerp": RECIPES["slerp"], "ties": RECIPES["ties"] | {"density": 1.0}})
@CALM
@given(seed=st.integers(0, 10**6))
def test_equal_checkpoints_give_themselves(recipe, seed):
    base, candidates, _ = case(seed, 2 if recipe["method"] == "slerp" else 3)
    same = next(iter(candidates.values()))
    merged, _ = fuse_in_memory(recipe, base, dict.fromkeys(candidates, same))
    assert_close(merged, same, 1e-6)


@each({**PLAIN, **DELTA_GUIDED, "task_arithmetic": RECIPES["task_arithmetic"] | {"scale": 1 / 3}})
@CALM
@given(seed=st.integers(0, 10**6))
def test_equal_moves_give_the_uniform_soup(recipe, seed):
    base, candidates, _ = case(seed, 3)
    same = dict.fromkeys(candidates, candidates["a/0"])
    assert_close(fuse_in_memory(recipe, base, same)[0], fuse_in_memory(RECIPES["uniform"], base, same)[0])


@each({name: recipe for name, recipe in DELTA_GUIDED.items() if recipe["levels"] == 1})
@CALM
@given(seed=st.integers(0, 10**6))
def test_moves_of_equal_size_give_the_uniform_soup(recipe, seed):
    """The second moves as far as the first, in another direction: every element's move is mirrored or not."""
    base, candidates, _ = case(seed, 1)
    (first,) = candidates.values()
    generator = torch.Generator().manual_seed(seed)
    flips = {name: torch.randint(0, 2, tensor.shape, generator=generator) * 2 - 1 for name, tensor in base.items()}
    second = {name: base[name] + (tensor - base[name]) * flips[name] for name, tensor in first.items()}
    both = {"a/0": first, "b/0": second}
    assert_close(fuse_in_memory(recipe, base, both)[0], fuse_in_memory(RECIPES["uniform"], base, both)[0])


@each({**PLAIN, **OF_ANY_SCALE, **DELTA_GUIDED})
@CALM
@given(seed=st.integers(0, 10**6), count=st.integers(2, 5), shuffle=st.randoms(use_true_random=False))
def test_order_of_the_candidates_changes_nothing(recipe, seed, count, shuffle):
    base, candidates, scores = case(seed, count)
    order = list(range(count))
    shuffle.shuffle(order)
    names = list(candidates)
    shuffled = {names[place]: candidates[names[place]] for place in order}
    there, weights = fuse_in_memory(recipe, base, candidates, scores)
    back, permuted = fuse_in_memory(recipe, base, shuffled, [scores[place] for place in order])
    assert_close(there, back)
    for name in base:
        assert permuted[name] == pytest.approx([weights[name][place] for place in order], abs=1e-6)


@each(AVERAGING)
@CALM
@given(seed=st.integers(0, 10**6), count=st.integers(1, 5))
def test_weights_of_averaging_methods_sum_to_one_in_every_tensor(recipe, seed, count):
    base, candidates, scores = case(seed, count)
    for weights in fuse_in_memory(recipe, base, candidates, scores)[1].values():
        assert sum(weights) == pytest.approx(1.0, abs=1e-5)
        assert min(weights) >= 0.0


@each({**PLAIN, **OF_ANY_SCALE, **DELTA_GUIDED, "slerp": RECIPES["slerp"]})
def test_a_candidate_that_is_base_gives_finite_numbers(recipe):
    base, candidates, _ = case(3, 2)
    merged, _ = fuse_in_memory(recipe, base, {"a/0": base, "b/1": candidates["b/1"]})
    assert all(tensor.isfinite().all() for tensor in merged.values())


@pytest.mark.parametrize("levels", [1, 2])
def test_element_weights_are_the_same_in_slices(levels, monkeypatch):
    base, candidates, _ = case(8, 4)
    recipe = FUSION | {"method": "delta_guided", "granularity": "element", "levels": levels}
    whole, weights = fuse_in_memory(recipe, base, candidates)
    monkeypatch.setattr("codiemb_pipeline.merge.delta_fusion.SLICE", 5)
    sliced, sliced_weights = fuse_in_memory(recipe, base, candidates)
    assert_close(whole, sliced, 0.0)
    assert weights["embeddings.w"] == pytest.approx(sliced_weights["embeddings.w"])
