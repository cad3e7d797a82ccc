"""FSDP is DDP with less memory: the same weights, whole encoder folders, and a training that goes on exactly."""

from pathlib import Path

import pytest
import torch
from launching import changed, train, train_cut_short
from safetensors.torch import load_file

from codiemb_pipeline.artifacts.train import TrainedRun
from codiemb_pipeline.encoder.checkpoint import weights_digest

pytestmark = [pytest.mark.dist, pytest.mark.slow]


def trained(values: dict, model_input: Path, folder: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return the weights of the last checkpoint, projection included, and the lines of dev scores."""
    last = sorted(train(values, model_input, folder).glob("step-*"))[-1]
    weights = load_file(last / "model.safetensors") | load_file(last / "2_Dense" / "model.safetensors")
    return weights, (folder / "curves/dev.csv").read_text().splitlines()


def test_sharded_and_in_chunks_training_gives_the_weights_of_ddp_at_once(prepared, tmp_path):
    """Chunks are so small that the processes have different numbers of them; the projection is trained too.

    Dropout included: with GradCache a chunk is encoded twice under the same generator state.
    """
    values, model_input = prepared
    values = changed(values, batch_size={"ir": 2, "sts": 2}, chunk={"tokens": 48, "max_padding": 0.3}, accumulation=2)
    values["encoder"] = {**values["encoder"], "projection": {"dimensions": 12, "seed": 1}}
    expected, dev = trained(values, model_input, tmp_path / "ddp")
    found, its_dev = trained(changed(values, sharding="fsdp", grad_cache=True), model_input, tmp_path / "fsdp")
    assert "linear.weight" in expected
    assert len(its_dev) == len(dev) > 1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_killed_halfway_a_sharded_training_goes_on_to_the_same_weights(prepared, tmp_path):
    values, model_input = prepared
    values = changed(values, sharding="fsdp", max_steps=30, epochs=15)
    whole = train(values, model_input, tmp_path / "whole")
    state = train_cut_short(values, model_input, tmp_path / "cut")
    assert list(state.glob("*/state/step-*/shards/*.distcp")), "the optimiser is not in PyTorch's sharded format"
    resumed = train(values, model_input, tmp_path / "cut")
    names = [entry.name for entry in TrainedRun.of(whole).checkpoints]
    assert [weights_digest(resumed / name) for name in names] == [weights_digest(whole / name) for name in names]
