"""Twenty steps of the loop in one process: the losses are those recorded, and the run learns.

A change that should not alter results must leave this as it is. Where one means to alter them, record anew:
``python tests/train/test_golden_losses.py`` prints the new values for ``tests/golden/twenty_steps.json``. To prove a
refactoring on one machine, run ``python tests/train/test_golden_losses.py /tmp/losses.json`` before and after it: the
first run records the losses with all their digits, the second demands the same.
"""

import json
import sys
import tempfile
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_encoder import make_tiny_encoder
from tiny_run import make_model_input, tiny_params, write_sources

from codiemb_pipeline.artifacts.assemble import TokenStore, TrainingArrays
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.params import Params
from codiemb_pipeline.train.events import EventWriter, read_events
from codiemb_pipeline.train.loop import Run, plan_of_epoch, run_steps
from codiemb_pipeline.train.optimizer import adamw
from codiemb_pipeline.train.resume import last_step, restore_state
from codiemb_pipeline.train.step import batch_loss

GOLDEN = Path(__file__).parents[1] / "golden" / "twenty_steps.json"


def prepare(root: Path) -> tuple[dict, Path]:
    """Return parameters as a dict, and the folder of model input."""
    values = tiny_params(write_sources(root / "raw"), make_tiny_encoder(root / "encoder"))
    values["train"] |= {"epochs": 20, "max_steps": 20, "checkpoint_every": 10, "learning_rate": 1.0e-3}
    return values, make_model_input(values, root)


def run_of(values: dict, model_input: Path, folder: Path) -> tuple[Run, int]:
    """Return a run from the newest checkpoint in ``folder``, and its steps per epoch."""
    params, done = Params.parse(values, ""), last_step(folder)
    folder.mkdir(exist_ok=True)
    torch.manual_seed(params.train.seed)
    encoder = load_encoder(params.encoder, folder / "checkpoints" / f"step-{done:06d}" if done else None)
    arrays, store = TrainingArrays(model_input / "train"), TokenStore(model_input / "tokens")
    run = Run(
        params=params.train,
        encoder=encoder,
        model=encoder.model,
        optimizer=adamw(encoder.model, weight_decay=0.01),
        arrays=arrays,
        store=store,
        folder=folder,
        events=EventWriter(folder / "events", active=True),
        score=lambda: {"mean": 0.0},
    )
    if done:
        restore_state(folder, done, run.model, run.optimizer)
    return run, len(plan_of_epoch(params.train, arrays.sources, 0, 1))


def losses_of(folder: Path, digits: int = 6) -> list[list]:
    return [
        [event["task"], round(event["loss"], digits)] for event in read_events(folder / "events") if "loss" in event
    ]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("golden"))


def test_losses_of_twenty_steps_are_those_recorded(prepared, tmp_path):
    run, per_epoch = run_of(*prepared, tmp_path / "run")
    run_steps(run, done=0, steps_per_epoch=per_epoch)
    found, golden = losses_of(tmp_path / "run"), json.loads(GOLDEN.read_text())["losses"]
    assert [task for task, _ in found] == [task for task, _ in golden]
    assert [loss for _, loss in found] == pytest.approx([loss for _, loss in golden], rel=2e-3)
    retrieval = [loss for task, loss in found if task == "ir"]
    assert sum(retrieval[-3:]) < sum(retrieval[:3])


def test_defect_1_going_on_from_a_checkpoint_gives_the_very_same_losses(prepared, tmp_path):
    values, model_input = prepared
    run, per_epoch = run_of(values, model_input, tmp_path / "whole")
    run_steps(run, done=0, steps_per_epoch=per_epoch)
    cut, _ = run_of(values, model_input, tmp_path / "cut")
    whole_plan, stopped = cut.events.write, {"at": False}

    def stop_after_first_checkpoint(kind: str, **fields) -> None:
        if kind == "step" and fields["step"] == 11:
            stopped["at"] = True
            raise KeyboardInterrupt
        whole_plan(kind, **fields)

    object.__setattr__(cut.events, "write", stop_after_first_checkpoint)
    with pytest.raises(KeyboardInterrupt):
        run_steps(cut, done=0, steps_per_epoch=per_epoch)
    resumed, _ = run_of(values, model_input, tmp_path / "cut")
    run_steps(resumed, done=last_step(tmp_path / "cut"), steps_per_epoch=per_epoch)
    assert stopped["at"]
    assert losses_of(tmp_path / "cut") == losses_of(tmp_path / "whole")


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(prepared, tmp_path, monkeypatch):
    run, per_epoch = run_of(*prepared, tmp_path / "run")

    def broken(model, batch, objective):
        loss, parts = batch_loss(model, batch, objective)
        return loss * float("nan"), {**parts, "loss": loss.detach() * float("nan")}

    monkeypatch.setattr("codiemb_pipeline.train.grad_cache.batch_loss", broken)
    with pytest.raises(PipelineError, match=r"step 1, task (ir|sts): loss is nan"):
        run_steps(run, done=0, steps_per_epoch=per_epoch)


def main(exact: Path | None) -> None:
    with tempfile.TemporaryDirectory() as place:
        run, per_epoch = run_of(*prepare(Path(place)), Path(place) / "run")
        run_steps(run, done=0, steps_per_epoch=per_epoch)
        found = losses_of(Path(place) / "run", 6 if exact is None else 17)
    if exact is None:
        sys.stdout.write(json.dumps({"losses": found}) + "\n")
    elif not exact.exists():
        exact.write_text(json.dumps(found))
    elif found != (before := json.loads(exact.read_text())):
        sys.exit(f"the losses changed: {[pair for pair in zip(before, found, strict=True) if pair[0] != pair[1]]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
