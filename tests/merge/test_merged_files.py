"""What merged folders hold: shards, element types, side modules, and several runs."""

import pytest
import torch
from safetensors.torch import load_file
from tiny_folders import (
    FUSION,
    INDEX,
    RECIPES,
    Tensors,
    from_recipes,
    merge_run,
    merge_runs,
    recipe_of,
    weights_of,
    write_folder,
    write_run,
)

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.merge.merge import merge_checkpoints

ALL = {name: recipe_of(name) for name in RECIPES}


def model(seed: int, dtype: torch.dtype = torch.float32) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"embeddings.w": (8, 4), "layer.0.a": (4, 4), "layer.0.b": (4,), "layer.1.a": (4, 4)}
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}


def test_result_does_not_depend_on_how_the_inputs_are_sharded(tmp_path):
    whole = merge_run(tmp_path / "whole", from_recipes(ALL), model(0), [model(1), model(2)])
    root = tmp_path / "sharded"
    run = write_run(root / "checkpoints" / "main", model(0), [model(1), model(2)])
    (run / "step-000010" / "model.safetensors").unlink()
    write_folder(run / "step-000010", model(1), [["layer.1.a", "embeddings.w"], ["layer.0.b"], ["layer.0.a"]])
    merge_checkpoints(from_recipes(ALL), ["main"], root / "checkpoints", lambda _: 0.5, root / "merged")
    for name in ALL:
        assert (whole / name / "model.safetensors").read_bytes() == (
            root / "merged" / name / "model.safetensors"
        ).read_bytes()


def test_a_model_bigger_than_a_shard_is_written_in_several(tmp_path):
    """Tensors of 128, 64, 16 and 64 bytes, 100 a shard: the first has one of its own, the rest pair up as they come."""
    settings = from_recipes({"uniform": recipe_of("uniform")})
    one = merge_run(tmp_path / "one", settings, model(0), [model(1), model(2)]) / "uniform"
    many = merge_run(tmp_path / "many", settings, model(0), [model(1), model(2)], shard_bytes=100) / "uniform"
    assert [file.name for file in one.glob("*model*")] == ["model.safetensors"]
    index = read_json(many / INDEX)
    assert index["metadata"]["total_size"] == 128 + 64 + 16 + 64
    assert index["weight_map"] == {
        "embeddings.w": "model-00001-of-00003.safetensors",
        "layer.0.a": "model-00002-of-00003.safetensors",
        "layer.0.b": "model-00002-of-00003.safetensors",
        "layer.1.a": "model-00003-of-00003.safetensors",
    }
    assert sorted(file.name for file in many.iterdir() if "model" in file.name) == [
        *sorted(set(index["weight_map"].values())),
        INDEX,
    ]
    expected = weights_of(one)
    for name, tensor in weights_of(many).items():
        assert torch.equal(tensor, expected[name])


def test_transformers_loads_a_sharded_result(tmp_path, tiny_encoder_folder):
    from transformers import AutoModel

    weights = load_file(tiny_encoder_folder / "model.safetensors")
    settings = from_recipes({"uniform": recipe_of("uniform")})
    run = write_run(tmp_path / "checkpoints" / "main", weights, [weights, weights])
    for name in ("step-000010", "step-000020"):
        for file in ("config.json", "tokenizer.json"):
            (run / name / file).write_bytes((tiny_encoder_folder / file).read_bytes())
    merge_checkpoints(
        settings, ["main"], tmp_path / "checkpoints", lambda _: 0.5, tmp_path / "out",
        shard_bytes=4000,
    )  # fmt: skip
    assert (tmp_path / "out" / "uniform" / INDEX).exists()
    loaded = AutoModel.from_pretrained(tmp_path / "out" / "uniform").state_dict()
    for name, tensor in weights.items():
        assert torch.allclose(loaded[name], tensor, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", sorted(set(ALL) - {"best", "greedy", "slerp"}))
def test_half_precision_is_merged_in_float32(tmp_path, name, dtype):
    """Merging the stored halves and merging the same numbers stored in float32 gives the same, rounded once."""
    inputs = [model(seed, dtype) for seed in (0, 1, 2, 3)]
    widened = [{key: tensor.float() for key, tensor in tensors.items()} for tensors in inputs]
    settings = from_recipes({name: recipe_of(name)})
    half = weights_of(merge_run(tmp_path / "half", settings, inputs[0], inputs[1:]) / name)
    full = weights_of(merge_run(tmp_path / "full", settings, widened[0], widened[1:]) / name)
    for key, tensor in half.items():
        assert tensor.dtype == dtype
        assert torch.equal(tensor, full[key].to(dtype))


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("wanted", ["float32", "float16", "bfloat16"])
def test_element_type_of_the_result_can_be_chosen(tmp_path, stored, wanted):
    base = model(0, stored)
    run = write_run(tmp_path / "checkpoints" / "main", base, [model(1, stored), base])
    write_json(run / "step-000020" / "config.json", {"dtype": "float64", "hidden_size": 4})
    settings = from_recipes({"best": recipe_of("best"), "uniform": recipe_of("uniform")}, output_dtype=wanted)
    scored: list[str] = []
    merge_checkpoints(settings, ["main"], tmp_path / "checkpoints",
                      lambda folder: float(scored.append(folder.name) or 0.5), tmp_path / "out")  # fmt: skip
    assert scored == ["best", "uniform"]  # the known score of the best is of other numbers
    for name in ("best", "uniform"):
        assert {tensor.dtype for tensor in weights_of(tmp_path / "out" / name).values()} == {getattr(torch, wanted)}
        assert read_json(tmp_path / "out" / name / "config.json") == {"dtype": wanted, "hidden_size": 4}


def test_numbers_too_large_for_the_element_type_are_refused(tmp_path):
    settings = from_recipes({"uniform": recipe_of("uniform")}, output_dtype="float16")
    with pytest.raises(InputError, match=r"output_dtype: tensor 'x' .*torch\.float16.*largest 100000"):
        merge_run(tmp_path, settings, {"x": torch.zeros(1)}, [{"x": torch.tensor([1e5])}])


def test_side_modules_are_merged_and_written_where_they_were(tmp_path):
    run = write_run(tmp_path / "checkpoints" / "main", model(0), [model(1), model(2)])
    for step, value in (("step-000000", 0.0), ("step-000010", 1.0), ("step-000020", 3.0)):
        write_folder(run / step / "2_Dense", {"linear.weight": torch.full((2, 2), value)})
        write_json(run / step / "2_Dense" / "config.json", {"in_features": 2})
    merge_checkpoints(
        from_recipes({"uniform": recipe_of("uniform")}), ["main"], tmp_path / "checkpoints", lambda _: 0.5,
        tmp_path / "out",
    )  # fmt: skip
    dense = tmp_path / "out" / "uniform" / "2_Dense"
    assert load_file(dense / "model.safetensors")["linear.weight"].tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert read_json(dense / "config.json") == {"in_features": 2}
    told = read_json(tmp_path / "out" / "uniform" / "provenance.json")
    assert "2_Dense" in [layer["layer"] for layer in told["layers"]]


def test_tensors_that_are_not_floating_point_are_copied(tmp_path):
    base, tuned = ({"in": torch.full((2, 3), value), "ids": torch.arange(2)} for value in (0.0, 1.0))
    folder = merge_run(tmp_path, from_recipes({"uniform": recipe_of("uniform")}), base, [tuned]) / "uniform"
    assert read_json(folder / "provenance.json")["copied"] == ["ids"]
    assert weights_of(folder)["ids"].tolist() == [0, 1]


def test_recipes_merge_several_runs_by_name(tmp_path):
    """Base 0, run a at 1 and 2, run b at 6: all 3; last of each 4; b alone 6; slerp of b and a is linear: 0.25 to a."""
    models = {"a": [{"x": torch.tensor([value])} for value in (1.0, 2.0)], "b": [{"x": torch.tensor([6.0])}]}
    recipes = {
        "all": recipe_of("uniform"),
        "last": recipe_of("uniform", last_only=True),
        "only_b": recipe_of("uniform", runs=["b"]),
        "between": recipe_of("slerp", runs=["b", "a"], last_only=True),
        "levels": {"method": "delta_guided", **FUSION, "levels": 2},
    }
    folder = merge_runs(tmp_path, from_recipes(recipes), {"x": torch.zeros(1)}, models)
    merged = {name: weights_of(folder / name)["x"].item() for name in recipes}
    # Levels: a fuses 1 and 2 by 1/3 and 2/3 to 5/3; a and b by 5/3 and 6: (25/9 + 36) / (23/3) = 349/69.
    assert merged == pytest.approx({"all": 3.0, "last": 4.0, "only_b": 6.0, "between": 5.0, "levels": 349 / 69})
    summary = read_json(folder / "summary.json")
    assert [entry["name"] for entry in summary["candidates"]] == ["a/step-000010", "a/step-000020", "b/step-000010"]
    assert summary["methods"]["between"]["candidates"] == ["b/step-000010", "a/step-000020"]
    told = {entry["name"]: entry["weight"] for entry in read_json(folder / "levels" / "provenance.json")["candidates"]}
    expected = {"a/step-000010": 5 / 69, "a/step-000020": 10 / 69, "b/step-000010": 54 / 69}
    assert told == pytest.approx(expected, abs=1e-5)
