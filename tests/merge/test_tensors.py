"""Walking folders tensor by tensor."""

from pathlib import Path

import pytest
import torch
from tiny_folders import write_folder

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.merge.aligned_tensors import AlignedTensors

BASE = {"x": torch.tensor([1.0, 2.0]), "y": torch.zeros(2, 2), "ids": torch.arange(3)}
TUNED = {"x": torch.tensor([1.5, 2.0]), "y": torch.ones(2, 2), "ids": torch.arange(3)}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "base", BASE)


def test_deltas_are_the_same_however_the_files_are_sharded(tmp_path, base):
    whole = write_folder(tmp_path / "whole", TUNED)
    sharded = write_folder(tmp_path / "sharded", TUNED, [["y"], ["ids", "x"]])
    folders = AlignedTensors(base, {"a": whole, "b": sharded})
    assert (folders.floating, folders.constant) == (["x", "y"], ["ids"])
    weights, deltas = folders.read("x")
    assert weights.tolist() == [1.0, 2.0]
    assert deltas.tolist() == [[0.5, 0.0], [0.5, 0.0]]
    assert folders.read_constant("ids").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({**TUNED, "y": torch.ones(2, 3)}, r"safetensors: tensor 'y': expected shape \[2, 2\].*found shape \[2, 3\]"),
        ({"x": TUNED["x"], "ids": TUNED["ids"]}, r"bad: tensor 'y': expected shape \[2, 2\].*found no such tensor"),
        ({**TUNED, "z": torch.ones(1)}, r"tensor 'z': expected no such tensor as in .*base, found shape \[1\]"),
        ({**TUNED, "x": torch.tensor([1, 2])}, r"tensor 'x': .*not floating point"),
    ],
)
def test_folders_that_do_not_agree_are_refused_by_name(tmp_path, base, tensors, message):
    bad = write_folder(tmp_path / "bad", tensors)
    with pytest.raises(InputError, match=message):
        AlignedTensors(base, {"bad": bad})


def test_integers_that_differ_cannot_be_merged(tmp_path, base):
    other = write_folder(tmp_path / "other", {**TUNED, "ids": torch.arange(1, 4)})
    folders = AlignedTensors(base, {"other": other})
    with pytest.raises(InputError, match=r"tensor 'ids' of type torch\.int64"):
        folders.read_constant("ids")


def test_weights_of_a_side_module_carry_its_folder_in_their_names(tmp_path, base):
    tuned = write_folder(tmp_path / "tuned", TUNED)
    for folder, value in ((base, 0.0), (tuned, 2.0)):
        write_folder(folder / "2_Dense", {"linear.weight": torch.full((2, 2), value)})
    folders = AlignedTensors(base, {"tuned": tuned})
    assert folders.floating == ["2_Dense/linear.weight", "x", "y"]
    assert folders.read("2_Dense/linear.weight")[1].tolist() == [[[2.0, 2.0], [2.0, 2.0]]]


def test_half_precision_is_widened_to_hold_every_folder(tmp_path, base):
    half = write_folder(tmp_path / "half", {**TUNED, "x": TUNED["x"].bfloat16()})
    folders = AlignedTensors(base, {"half": half})
    assert folders.dtype("x") == torch.float32
    assert folders.read("x")[1].dtype == torch.float32


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"bad/model\.safetensors: expected weights"),
        ("hello world, these are not weights", r"bad/model\.safetensors: expected a safetensors file"),
    ],
)
def test_a_folder_without_weights_is_named(tmp_path, base, content, message):
    (tmp_path / "bad").mkdir()
    if content:
        (tmp_path / "bad" / "model.safetensors").write_text(content)
    with pytest.raises(InputError, match=message):
        AlignedTensors(base, {"bad": tmp_path / "bad"})
