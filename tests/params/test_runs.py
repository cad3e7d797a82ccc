"""Named runs: what they set otherwise, and faults that name the run."""

from typing import Any

import frozen_params
import pytest

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params import Params, run_params

VALUES = frozen_params.params()


def faults(runs: Any, **train: Any) -> str:
    with pytest.raises(InputError) as caught:
        Params.parse({**VALUES, "runs": runs, "train": {**VALUES["train"], **train}})
    return str(caught.value)


def test_a_run_without_keys_is_the_train_section():
    assert run_params(VALUES["train"], {}, "main") == Params.parse(VALUES).train


def test_a_run_lays_its_keys_over_the_train_section_as_deep_as_they_go():
    run = run_params(VALUES["train"], {"seed": 7, "sampler": {"steps_per_task": {"sts": 0}}}, "ir")
    assert run.seed == 7
    assert run.sampler.steps_per_task.model_dump() == {"ir": 2.0, "sts": 0.0}
    assert run.sampler.mode == VALUES["train"]["sampler"]["mode"]
    assert VALUES["train"]["sampler"]["steps_per_task"]["sts"] == 1


def test_a_key_unknown_to_train_is_named_with_its_run():
    assert faults({"hot": {"learning_rat": 1.0}}).startswith("params.yaml: runs.hot.learning_rat: unknown parameter")


def test_a_value_that_only_some_run_makes_wrong_is_named_with_it():
    mixed = {"main": {}, "mixed": {"sampler": {"mode": "mixed"}}}
    assert faults(mixed).startswith("params.yaml: runs.mixed: sampler.mode mixed")


@pytest.mark.parametrize("runs", [{}, {"a/b": {}}, {"": {}}, {"main": 3}])
def test_there_is_one_run_at_least_and_its_name_can_be_a_folder(runs):
    assert "runs" in faults(runs)


def test_single_mode_has_one_batch_size_and_no_balance():
    single = {**VALUES["train"]["sampler"], "mode": "single"}
    assert "steps_per_task must be null" in faults({"main": {}}, sampler=single)
    sizes = {"sampler": {**single, "steps_per_task": None}, "batch_size": {"ir": 32, "sts": 16}}
    assert "one batch size for both tasks" in faults({"main": {}}, **sizes)


def test_an_objective_without_any_part_is_an_error():
    off = {"pearson": {"weight": 0}, "rank_kl": None, "pro": None, "mid_info_nce": None}
    assert "one part at least must have a weight above 0" in faults({"none": {"sts": {"parts": off}}})


def test_matryoshka_needs_a_weight_for_each_width():
    assert "2 dimensions need as many weights; found 1" in faults(
        {"main": {"matryoshka": {"dimensions": [64, 128], "weights": [1.0]}}}
    )
