"""FSDP is DDP with less memory: the same weights, whole encoder folders, and a training that goes on exactly."""

from pathlib import Path

import pytest
import torch
from launching import changed, train, train_cut_short
from safetensors.torch import load_file

from codiemb_pipeline.artifacts.train import TrainedRun
from codiemb_pipeline.encoder.checkpoint import weights_digest

pytestmark = [pytest.mark.dist, pytest.mark.slow]


def last_weights(checkpoints: Path) -> dict[str, torch.Tensor]:
    folder = sorted(checkpoints.glob("step-*"))[-1]
    projection = folder / "2_Dense" / "model.safetensors"
    return load_file(folder / "model.safetensors") | (load_file(projection) if projection.exists() else {})


@pytest.mark.parametrize("cached", [False, True], ids=["at once", "GradCache"])
def test_sharded_training_gives_the_weights_of_ddp(prepared, tmp_path, cached):
    """Chunks are so small that the processes have different numbers of them; the projection is trained too."""
    values, model_input = prepared
    settings = {"chunk": {"tokens": 48, "max_padding": 0.3}, "accumulation": 2, "grad_cache": cached}
    values = changed(values, batch_size={"ir": 2, "sts": 2}, **settings)
    values["encoder"] = {**values["encoder"], "projection": {"dimensions": 12, "seed": 1}}
    found = {
        sharding: last_weights(train(changed(values, sharding=sharding), model_input, tmp_path / sharding))
        for sharding in ("ddp", "fsdp")
    }
    assert found["fsdp"].keys() == found["ddp"].keys()
    assert "linear.weight" in found["ddp"]
    for name, expected in found["ddp"].items():
        torch.testing.assert_close(
            found["fsdp"][name], expected, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )
    dev = [(tmp_path / sharding / "curves/dev.csv").read_text() for sharding in ("ddp", "fsdp")]
    assert len(dev[0].splitlines()) == len(dev[1].splitlines()) > 1


def test_killed_halfway_a_sharded_training_goes_on_to_the_same_weights(prepared, tmp_path):
    values, model_input = prepared
    values = changed(values, sharding="fsdp", max_steps=30, epochs=15)
    whole = train(values, model_input, tmp_path / "whole")
    state = train_cut_short(values, model_input, tmp_path / "cut")
    assert list(state.glob("*/state/step-*/shards/*.distcp")), "the optimiser is not in PyTorch's sharded format"
    resumed = train(values, model_input, tmp_path / "cut")
    names = [entry.name for entry in TrainedRun.of(whole).checkpoints]
    assert [weights_digest(resumed / name) for name in names] == [weights_digest(whole / name) for name in names]
