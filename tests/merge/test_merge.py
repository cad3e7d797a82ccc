"""Whole merges of tiny folders, by hand, and the choice of candidates.

Base is (0, 0) in ``layer.0.a`` and 0 in ``layer.0.b`` and ``head.c``; every candidate below moves from there.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from tiny_folders import Tensors, from_recipes, merge_run, params, recipe_of, weights_of, write_run

from codiemb_pipeline.artifacts.merge import Candidate
from codiemb_pipeline.encoder.checkpoint import weights_digest
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.merge.merge import read_base, read_candidates, select

BASE = {"layer.0.a": torch.zeros(2), "layer.0.b": torch.zeros(1), "head.c": torch.zeros(1)}
FIRST = {"layer.0.a": torch.tensor([3.0, 4.0]), "layer.0.b": torch.tensor([12.0]), "head.c": torch.zeros(1)}
SECOND = {"layer.0.a": torch.tensor([0.0, 10.0]), "layer.0.b": torch.tensor([0.0]), "head.c": torch.zeros(1)}


@pytest.fixture
def merge(tmp_path: Path) -> Callable[..., Path]:
    """Merge candidates of one run (in step order) and return the folder written."""

    def run(settings, candidates: Sequence[Tensors], scores=None, score=lambda folder: 0.5, name: str = "all") -> Path:
        return merge_run(tmp_path / name, settings, BASE, candidates, scores=scores, score=score)

    return run


@pytest.mark.parametrize(
    ("changes", "a", "b"),
    [
        # a: norms 5 and 10, weights 1/3 and 2/3; b: 12 and 0
        ({}, [1.0, 8.0], 12.0),
        # a: norms 7 and 10
        ({"norm": "l1"}, [21 / 17, 128 / 17], 12.0),
        # a: norms 4 and 10
        ({"norm": "max"}, [12 / 14, 116 / 14], 12.0),
        # a: weights 2/3 and 1/3; b: the candidate that did not move takes all
        ({"weighting": "inverse"}, [2.0, 6.0], 0.0),
        # a, by element: 1 and 0; 4/14 and 10/14
        ({"granularity": "element"}, [3.0, 116 / 14], 12.0),
        # layer.0 as one: norms sqrt(25 + 144) = 13 and 10
        ({"granularity": "layer"}, [39 / 23, 152 / 23], 156 / 23),
        ({"granularity": "layer", "norm": "l1"}, [57 / 29, 176 / 29], 228 / 29),  # 19 and 10
        ({"granularity": "layer", "norm": "max"}, [36 / 22, 148 / 22], 144 / 22),  # 12 and 10
        ({"granularity": "model"}, [39 / 23, 152 / 23], 156 / 23),  # head.c moved in neither
        # a huge tau levels the weights
        ({"weighting": "softmax", "tau": 1e9}, [1.5, 7.0], 6.0),
        # a tiny negative one picks the smallest move
        ({"weighting": "softmax", "tau": -1e-3}, [3.0, 4.0], 0.0),
    ],
)
def test_delta_guided_fusion_by_hand(merge, changes, a, b):
    merged = weights_of(merge(params("delta_guided", **changes), [FIRST, SECOND]) / "delta_guided")
    assert merged["layer.0.a"].tolist() == pytest.approx(a, rel=1e-6)
    assert merged["layer.0.b"].tolist() == pytest.approx([b], rel=1e-6)


def test_model_granularity_spans_layers(merge):
    """head.c moves by 84 in the first: norms sqrt(13^2 + 84^2) = 85 and 10, so its weight is 85 / 95 everywhere."""
    first = {**FIRST, "head.c": torch.tensor([84.0])}
    merged = weights_of(merge(params("delta_guided", granularity="model"), [first, SECOND]) / "delta_guided")
    assert merged["layer.0.b"].tolist() == pytest.approx([12 * 85 / 95])
    assert merged["head.c"].tolist() == pytest.approx([84 * 85 / 95])


def test_uniform_soup_is_the_plain_average(merge):
    merged = weights_of(merge(params("uniform"), [FIRST, SECOND]) / "uniform")
    assert {name: tensor.tolist() for name, tensor in merged.items()} == {
        "layer.0.a": [1.5, 7.0],
        "layer.0.b": [6.0],
        "head.c": [0.0],
    }


def test_a_tensor_nobody_moved_stays_as_in_base(merge):
    folder = merge(params("delta_guided"), [FIRST, SECOND]) / "delta_guided"
    assert weights_of(folder)["head.c"].tolist() == [0.0]
    provenance = read_json(folder / "provenance.json")
    assert provenance["kept_from_base"] == ["head.c"]
    assert "head.c" not in provenance["tensors"]


def test_provenance_names_files_hashes_and_weights(merge, tmp_path):
    folder = merge(params("delta_guided"), [FIRST, SECOND], [0.4, 0.6], score=lambda _: 0.7)
    provenance = read_json(folder / "delta_guided" / "provenance.json")
    assert "our reading" in provenance["description"].lower()
    assert provenance["tensors"]["layer.0.a"] == {"main/step-000010": 0.333333, "main/step-000020": 0.666667}
    for weights in provenance["tensors"].values():
        assert sum(weights.values()) == pytest.approx(1.0, abs=1e-5)
    # layer.0: 2 parameters at 1/3 and 1 at 1
    stack = provenance["layers"][1]
    assert stack["weights"] == pytest.approx({"main/step-000010": 5 / 9, "main/step-000020": 4 / 9}, abs=1e-5)
    assert stack["delta_norms"] == {"main/step-000010": 13.0, "main/step-000020": 10.0}
    assert [candidate["dev"] for candidate in provenance["candidates"]] == [0.4, 0.6]
    assert len({candidate["sha256"] for candidate in provenance["candidates"]} | {provenance["sha256"]}) == 3
    assert provenance["dev"] == 0.7
    assert str(tmp_path) not in (folder / "delta_guided" / "provenance.json").read_text()
    assert str(tmp_path) not in (folder / "summary.json").read_text()


def test_other_files_come_from_the_last_checkpoint(merge):
    folder = merge(params("uniform"), [FIRST, SECOND])
    assert (folder / "uniform" / "config.json").read_text() == '"step-000020"'


def test_greedy_soup_keeps_what_raises_the_score_and_leaves_no_trial_behind(merge):
    """The score is minus the distance of layer.0.b from 4. Alone: 5 -> -1, 0 -> -4, 4.5 -> -0.5, 30 -> -26.

    Best first: 4.5; with 5 it is 4.75, -0.75: out; with 0 it is 2.25, -1.75: out; with 30 out as well... unless the
    candidate 3.5 (-0.5, tried second) comes in: 4.0, 0. Then 5: 4.33, out.
    """
    models = [{**FIRST, "layer.0.b": torch.tensor([value])} for value in (5.0, 4.5, 3.5, 30.0)]

    def score(folder: Path) -> float:
        return -abs(weights_of(folder)["layer.0.b"].item() - 4.0)

    folder = merge(params("greedy"), models, [-1.0, -0.5, -0.5, -26.0], score)
    summary = read_json(folder / "summary.json")["methods"]["greedy"]
    assert summary["ingredients"] == ["main/step-000020", "main/step-000030"]
    assert summary["dev"] == 0.0
    assert [trial["kept"] for trial in summary["trials"]] == [True, True, False, False]
    assert weights_of(folder / "greedy")["layer.0.b"].item() == 4.0
    assert sorted(entry.name for entry in folder.iterdir()) == ["greedy", "summary.json"]


def test_a_greedy_soup_of_one_is_that_checkpoint(merge):
    """Alone 0.6 and 0.5, together 0.1: the first stays alone, and its score is known."""
    folder = merge(params("greedy"), [FIRST, SECOND], [0.6, 0.5], score=lambda _: 0.1)
    assert read_json(folder / "summary.json")["methods"]["greedy"]["dev"] == 0.6
    assert torch.equal(weights_of(folder / "greedy")["layer.0.a"], FIRST["layer.0.a"])


def test_best_is_the_best_checkpoint_bit_for_bit_and_is_not_scored_again(merge):
    odd = {name: torch.full_like(tensor, 1 / 3) for name, tensor in BASE.items()}
    folder = merge(params("best"), [FIRST, odd, SECOND], [0.4, 0.6, 0.5], score=lambda _: 1 / 0)
    summary = read_json(folder / "summary.json")["methods"]["best"]
    assert (summary["dev"], summary["ingredients"]) == (0.6, ["main/step-000020"])
    for name, tensor in weights_of(folder / "best").items():
        assert torch.equal(tensor, odd[name])


def test_weights_that_do_not_sum_to_one_are_told(merge):
    """Task arithmetic with scale 0.4: 0.4 (3, 4) + 0.4 (0, 10) = (1.2, 5.6)."""
    folder = merge(params("task_arithmetic", "uniform"), [FIRST, SECOND])
    assert weights_of(folder / "task_arithmetic")["layer.0.a"].tolist() == pytest.approx([1.2, 5.6])
    told = read_json(folder / "task_arithmetic" / "provenance.json")
    assert told["weights_sum_to_one"] is False
    assert "do not sum to one" in told["description"]
    assert told["candidates"][0]["weight"] == 0.4
    assert read_json(folder / "uniform" / "provenance.json")["weights_sum_to_one"] is True


def test_summary_tells_method_settings_and_order_of_every_recipe(merge):
    recipes = {"z_first": recipe_of("ties", density=1.0), "a_last": recipe_of("uniform", last_only=True)}
    folder = merge(from_recipes(recipes), [FIRST, SECOND])
    summary = read_json(folder / "summary.json")
    assert summary["order"] == ["z_first", "a_last"]
    assert summary["methods"]["z_first"]["method"] == "ties"
    assert summary["methods"]["z_first"]["params"] == {"density": 1.0, "scale": 1.0, "runs": None, "last_only": False}
    assert summary["methods"]["a_last"]["candidates"] == ["main/step-000020"]
    assert weights_of(folder / "a_last")["layer.0.a"].tolist() == [0.0, 10.0]


def test_every_merged_encoder_is_scored_once(merge):
    scored: list[str] = []

    def score(folder: Path) -> float:
        scored.append(folder.name)
        return 0.9

    folder = merge(params("uniform", "delta_guided"), [FIRST, SECOND], [0.4, 0.6], score)
    assert scored == ["uniform", "delta_guided"]
    summary = read_json(folder / "summary.json")
    assert summary["best_checkpoint"] == {"name": "main/step-000020", "dev": 0.6}
    assert summary["methods"]["uniform"]["dev"] == 0.9


def test_same_inputs_give_the_same_bytes(merge):
    settings = params("uniform", "greedy", "delta_guided")
    once = merge(settings, [FIRST, SECOND], name="once")
    again = merge(settings, [FIRST, SECOND], name="again")
    files = sorted(path.relative_to(once) for path in once.rglob("*") if path.is_file())
    assert len(files) == 10
    for file in files:
        assert (once / file).read_bytes() == (again / file).read_bytes()


def test_skipping_every_checkpoint_is_refused(merge):
    settings = params("uniform").model_copy(update={"skip_first": 2})
    with pytest.raises(InputError, match=r"merge\.skip_first: 2 of 2 checkpoints"):
        merge(settings, [FIRST, SECOND])


def test_skipped_checkpoints_take_no_part(merge):
    settings = params("uniform").model_copy(update={"skip_first": 1})
    assert weights_of(merge(settings, [FIRST, SECOND]) / "uniform")["layer.0.a"].tolist() == [0.0, 10.0]


def test_a_number_that_is_not_finite_names_tensor_and_file(merge):
    broken = {**SECOND, "layer.0.b": torch.tensor([float("nan")])}
    with pytest.raises(InputError, match=r"main/step-000020/model\.safetensors: tensor 'layer\.0\.b'"):
        merge(params("uniform"), [FIRST, broken])


def test_tau_of_zero_is_a_parameter_error():
    with pytest.raises(InputError, match=r"merge\.recipes\.delta_guided\.tau:"):
        params("delta_guided", tau=0.0)


WEIGHTS = {"x": torch.zeros(1)}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    """Two runs: ``main`` with three checkpoints, ``cold`` with two."""
    write_run(tmp_path / "main", WEIGHTS, [WEIGHTS] * 3)
    write_run(tmp_path / "cold", WEIGHTS, [WEIGHTS] * 2)
    return tmp_path


def names(candidates: list[Candidate]) -> list[str]:
    return [candidate.name for candidate in candidates]


def test_candidates_come_by_run_as_listed_then_by_step(checkpoints):
    assert names(read_candidates(checkpoints, ["main", "cold"], 1)) == [
        "main/step-000020",
        "main/step-000030",
        "cold/step-000020",
    ]


def test_skipping_every_checkpoint_of_a_run_is_refused(checkpoints):
    with pytest.raises(InputError, match=r"merge\.skip_first: 2 of 2 checkpoints in .*cold/run\.json"):
        read_candidates(checkpoints, ["main", "cold"], 2)


def test_the_base_is_checkpoint_0_of_the_first_run(checkpoints):
    folder, digest = read_base(checkpoints, ["cold", "main"])
    assert folder == checkpoints / "cold" / "step-000000"
    assert digest == weights_digest(folder)


def test_a_run_from_another_base_names_both_hashes(checkpoints):
    run = read_json(checkpoints / "cold" / "run.json")
    write_json(checkpoints / "cold" / "run.json", run | {"base_sha256": "abc123"})
    with pytest.raises(InputError, match=rf"cold/run\.json: .*abc123.*{run['base_sha256']}"):
        read_base(checkpoints, ["main", "cold"])


@pytest.mark.parametrize("field", ["base_sha256", "base", "checkpoints"])
def test_a_run_that_lacks_a_field_is_named_with_it(checkpoints, field):
    run = read_json(checkpoints / "main" / "run.json")
    del run[field]
    write_json(checkpoints / "main" / "run.json", run)
    with pytest.raises(InputError, match=rf"main/run\.json: field '{field}'"):
        read_base(checkpoints, ["main"])


def test_a_checkpoint_without_a_dev_score_is_named(checkpoints):
    run = read_json(checkpoints / "main" / "run.json")
    run["checkpoints"][0]["dev"] = {}
    write_json(checkpoints / "main" / "run.json", run)
    with pytest.raises(InputError, match=r"run\.json: checkpoint step-000010.*mean"):
        read_candidates(checkpoints, ["main"], 0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"runs": ["cold"]}, ["cold/step-000010", "cold/step-000020"]),
        ({"last_only": True}, ["main/step-000030", "cold/step-000020"]),
        ({"runs": ["cold", "main"], "last_only": True}, ["cold/step-000020", "main/step-000030"]),
    ],
)
def test_a_recipe_chooses_runs_and_checkpoints(checkpoints, changes, expected):
    recipe = from_recipes({"soup": recipe_of("uniform", **changes)}).recipes["soup"]
    assert names(select(read_candidates(checkpoints, ["main", "cold"], 0), recipe, "soup")) == expected


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("uniform", {"runs": ["colt"]}, r"merge\.recipes\.it\.runs: no run 'colt' \(did you mean 'cold'\?\)"),
        ("slerp", {"runs": ["main"]}, r"recipes\.it: method slerp merges exactly 2.*found 3: main/step-000010, main/"),
        ("slerp", {"runs": ["main"], "last_only": True}, r"exactly 2 candidates, found 1: main/step-000030"),
        ("model_stock", {"runs": ["main"], "last_only": True}, r"at least 2 candidates, found 1: main/step-000030"),
    ],
)
def test_a_recipe_that_cannot_be_made_says_why(checkpoints, method, changes, message):
    recipe = from_recipes({"it": recipe_of(method, **changes)}).recipes["it"]
    with pytest.raises(InputError, match=message):
        select(read_candidates(checkpoints, ["main", "cold"], 0), recipe, "it")


@pytest.mark.parametrize(
    ("name", "recipe", "message"),
    [
        ("a-b", {"method": "uniform"}, r"merge\.recipes"),
        ("a", {"method": "unifrom"}, r"merge\.recipes\.a"),
        ("a", {"method": "uniform", "runs": ["x", "x"]}, r"expected each run once"),
        ("a", {"method": "uniform", "runs": []}, r"merge\.recipes\.a.*runs"),
        ("a", {"method": "slerp", "t": 1.5}, r"merge\.recipes\.a\.t:"),
        ("a", {"method": "ties", "density": 0.0, "scale": 1.0}, r"merge\.recipes\.a\.density:"),
        ("a", {"method": "uniform", "scale": 1.0}, r"scale: unknown parameter"),
        ("a", {"method": "task_arithmetic"}, r"scale: missing parameter"),
    ],
)
def test_recipes_are_checked_when_read(name, recipe, message):
    with pytest.raises(InputError, match=message):
        from_recipes({name: recipe})
