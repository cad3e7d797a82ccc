"""Which checkpoints are candidates, of which runs."""

from pathlib import Path

import pytest
import torch
from tiny_folders import from_recipes, recipe_of, write_run

from codiemb_pipeline.artifacts.merge import Candidate
from codiemb_pipeline.encoder.checkpoint import weights_digest
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.merge.merge import read_base, read_candidates, select

WEIGHTS = {"x": torch.zeros(1)}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    """Two runs: ``main`` with three checkpoints, ``cold`` with two."""
    write_run(tmp_path / "main", WEIGHTS, [WEIGHTS] * 3)
    write_run(tmp_path / "cold", WEIGHTS, [WEIGHTS] * 2)
    return tmp_path


def names(candidates: list[Candidate]) -> list[str]:
    return [candidate.name for candidate in candidates]


def test_candidates_come_by_run_as_listed_then_by_step(checkpoints: Path) -> None:
    assert names(read_candidates(checkpoints, ["main", "cold"], 1)) == [
        "main/step-000020",
        "main/step-000030",
        "cold/step-000020",
    ]


def test_skipping_every_checkpoint_of_a_run_is_refused(checkpoints: Path) -> None:
    with pytest.raises(InputError, match=r"merge\.skip_first: 2 of 2 checkpoints in .*cold/run\.json"):
        read_candidates(checkpoints, ["main", "cold"], 2)


def test_the_base_is_checkpoint_0_of_the_first_run(checkpoints: Path) -> None:
    folder, digest = read_base(checkpoints, ["cold", "main"])
    assert folder == checkpoints / "cold" / "step-000000"
    assert digest == weights_digest(folder)


def test_a_run_from_another_base_names_both_hashes(checkpoints: Path) -> None:
    run = read_json(checkpoints / "cold" / "run.json")
    write_json(checkpoints / "cold" / "run.json", run | {"base_sha256": "abc123"})
    with pytest.raises(InputError, match=rf"cold/run\.json: .*abc123.*{run['base_sha256']}"):
        read_base(checkpoints, ["main", "cold"])


@pytest.mark.parametrize("field", ["base_sha256", "base", "checkpoints"])
def test_a_run_that_lacks_a_field_is_named_with_it(checkpoints: Path, field: str) -> None:
    run = read_json(checkpoints / "main" / "run.json")
    del run[field]
    write_json(checkpoints / "main" / "run.json", run)
    with pytest.raises(InputError, match=rf"main/run\.json: field '{field}'"):
        read_base(checkpoints, ["main"])


def test_a_checkpoint_without_a_dev_score_is_named(checkpoints: Path) -> None:
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
def test_a_recipe_chooses_runs_and_checkpoints(
    checkpoints: Path, changes: dict[str, object], expected: list[str]
) -> None:
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
def test_a_recipe_that_cannot_be_made_says_why(
    checkpoints: Path, method: str, changes: dict[str, object], message: str
) -> None:
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
def test_recipes_are_checked_when_read(name: str, recipe: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_recipes({name: recipe})
