"""What the plan tells beforehand and what a real training then does: the same steps, of the same tasks."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_run import make_model_input, tiny_params, train_in, write_sources

from codiemb_pipeline.params import Params
from codiemb_pipeline.plan.amounts import assembled_examples, run_amounts
from codiemb_pipeline.plan.counts import examples_of


@pytest.mark.dist
@pytest.mark.slow
def test_a_training_takes_the_steps_that_were_told(tmp_path, tiny_encoder_folder) -> None:
    values = tiny_params(write_sources(tmp_path / "raw"), tiny_encoder_folder)
    values["train"] |= {"epochs": 2, "max_steps": None, "checkpoint_every": None, "log_every": 1}
    params = Params.parse(values, "")
    beforehand, _ = examples_of(params, tmp_path)
    processes = params.train.launch.nproc_per_node
    (tmp_path / "made").mkdir()
    model_input = make_model_input(values, tmp_path / "made")
    train_in(tmp_path, params, model_input)

    logged = {}
    for task in ("ir", "sts"):
        with (tmp_path / "curves" / f"{task}.csv").open() as file:
            logged[task] = [int(row["step"]) for row in csv.DictReader(file)]
    assembled = assembled_examples(model_input, ["tags", "words"])
    for told in (run_amounts(examples, params.train, processes) for examples in (beforehand, assembled)):
        assert told.steps == len(logged["ir"]) + len(logged["sts"]) == max(logged["ir"] + logged["sts"])
        per_step = {"tags": ("ir", 4 * processes), "words": ("sts", 4 * processes)}
        for name, (task, batch) in per_step.items():
            assert 2 * told.drawn[name] == batch * len(logged[task])
    last = sorted(path.name for path in (tmp_path / "checkpoints").glob("step-*"))[-1]
    assert last == f"step-{told.steps:06}"
