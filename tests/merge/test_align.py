"""Folders whose names differ: tied weights, prefixes, side modules, old files. What is dropped is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_folders import Tensors, write_folder

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.merge.align import Alignment
from codiemb_pipeline.merge.tensors import AlignedFolders

GENERATOR = torch.Generator().manual_seed(1)
MATRIX = torch.randn(4, 3, generator=GENERATOR)
TUNED = MATRIX + 0.1 * torch.randn(4, 3, generator=GENERATOR)
BIAS = torch.zeros(3)


def align(root: Path, base: Tensors, *candidates: Tensors) -> Alignment:
    write_folder(root / "base", base)
    places = {f"c{number}": write_folder(root / f"c{number}", tensors) for number, tensors in enumerate(candidates)}
    with AlignedFolders(root / "base", places) as folders:
        for name in folders.aligned.floating:
            folders.read(name)
        for name in folders.aligned.constant:
            folders.read_constant(name)
        return folders.aligned


@pytest.mark.parametrize(
    ("base", "candidates", "kept", "tied"),
    [
        # base stores both names, the candidate one
        ({"in": MATRIX, "out": MATRIX}, [{"in": TUNED}], ["in"], {"out": "in"}),
        # the candidate stores both, base one
        ({"in": MATRIX}, [{"in": TUNED, "out": TUNED}], ["in"], {"out": "in"}),
        # candidates do not agree
        ({"in": MATRIX}, [{"in": TUNED}, {"in": TUNED, "out": TUNED}], ["in"], {"out": "in"}),
        # all store both
        ({"in": MATRIX, "out": MATRIX}, [{"in": TUNED, "out": TUNED}], ["in", "out"], {}),
        # base stores the other name
        ({"out": MATRIX}, [{"in": TUNED}], ["in"], {"out": "in"}),
    ],
)
def test_tied_weights_are_merged_once_and_told(
    tmp_path: Path, base: Tensors, candidates: list[Tensors], kept: list[str], tied: dict[str, str]
) -> None:
    found = align(tmp_path, base | {"bias": BIAS}, *(tensors | {"bias": BIAS} for tensors in candidates))
    assert found.floating == sorted([*kept, "bias"])
    assert found.tied == tied


def test_a_matrix_under_another_name_is_read_from_there(tmp_path: Path) -> None:
    base, tuned = write_folder(tmp_path / "b", {"out": MATRIX}), write_folder(tmp_path / "c", {"in": TUNED})
    with AlignedFolders(base, {"c": tuned}) as folders:
        assert torch.allclose(folders.read("in")[1][0], TUNED - MATRIX)
        assert folders.dtype("in") == torch.float32


@pytest.mark.parametrize(
    ("base", "candidate", "message"),
    [
        # same shape, other weights: not tied
        (
            {"in": MATRIX, "out": MATRIX.flip(0)},
            {"in": TUNED},
            r"c0: tensor 'out': expected shape \[4, 3\] as in .*base",
        ),
        (
            {"in": MATRIX},
            {"in": TUNED, "out": TUNED.flip(0)},
            r"tensor 'out': expected no such tensor.*base, found shape",
        ),
        ({"out": MATRIX.flip(0)}, {"in": TUNED}, r"tensor 'in': expected no such tensor as in .*base"),
        # equal vectors and constant matrices prove nothing
        ({"in": BIAS, "out": BIAS}, {"in": BIAS}, r"tensor 'out'"),
        ({"in": torch.ones(2, 2), "out": torch.ones(2, 2)}, {"in": torch.ones(2, 2)}, r"tensor 'out'"),
    ],
)
def test_what_only_looks_tied_is_refused(tmp_path: Path, base: Tensors, candidate: Tensors, message: str) -> None:
    with pytest.raises(InputError, match=message):
        align(tmp_path, base, candidate)


def test_a_tensor_only_one_candidate_lacks_names_the_one_that_lacks_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"c1: tensor 'x': expected shape \[3\] as in .*c0/model\.safetensors"):
        align(tmp_path, {"in": MATRIX, "x": BIAS}, {"in": TUNED, "x": BIAS}, {"in": TUNED})


def test_the_prefix_of_a_model_with_a_head_is_taken_off(tmp_path: Path) -> None:
    base = {"bert.in": MATRIX, "bert.bias": BIAS, "cls.head": BIAS}
    found = align(tmp_path, base, {"in": TUNED, "bias": BIAS})
    assert found.floating == ["bias", "in"]
    assert found.left_out == {"cls.head"}


def test_a_pooler_nobody_trained_is_copied(tmp_path: Path) -> None:
    pooler = {"pooler": MATRIX.flip(0)}
    found = align(tmp_path, {"in": MATRIX}, {"in": TUNED} | pooler, {"in": TUNED} | pooler)
    assert (found.floating, found.constant) == (["in"], ["pooler"])


def test_integer_tensors_only_some_store_are_left_out(tmp_path: Path) -> None:
    ids = {"ids": torch.arange(3)}
    found = align(tmp_path, {"in": MATRIX}, {"in": TUNED} | ids, {"in": TUNED})
    assert (found.constant, found.left_out) == ([], {"ids"})


def test_integer_tensors_all_candidates_store_are_copied(tmp_path: Path) -> None:
    ids = {"ids": torch.arange(3)}
    assert align(tmp_path, {"in": MATRIX}, {"in": TUNED} | ids).constant == ["ids"]


@pytest.mark.parametrize("listed", [True, False])
def test_weights_of_a_side_module_are_read_with_its_name(tmp_path: Path, listed: bool) -> None:
    places = {"base": MATRIX, "tuned": TUNED}
    for place, projection in places.items():
        write_folder(tmp_path / place, {"bias": BIAS})
        write_folder(tmp_path / place / "2_Dense", {"linear.weight": projection})
        if listed:
            write_json(tmp_path / place / "modules.json", [{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}])
    with AlignedFolders(tmp_path / "base", {"c": tmp_path / "tuned"}) as folders:
        assert folders.aligned.floating == ["2_Dense/linear.weight", "bias"]
        assert torch.allclose(folders.read("2_Dense/linear.weight")[1][0], TUNED - MATRIX)


def test_a_side_module_that_training_did_without_is_left_out(tmp_path: Path) -> None:
    write_folder(tmp_path / "base" / "2_Dense", {"linear.weight": MATRIX})
    assert align(tmp_path, {"in": MATRIX}, {"in": TUNED}).left_out == {"2_Dense/linear.weight"}


def test_a_side_module_base_lacks_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "c0" / "2_Dense", {"linear.weight": MATRIX})
    with pytest.raises(InputError, match=r"2_Dense/model\.safetensors: tensor '2_Dense/linear\.weight'"):
        align(tmp_path, {"in": MATRIX}, {"in": TUNED})


@pytest.mark.parametrize("sharded", [True, False])
def test_a_base_of_pytorch_files_is_read_as_it_is(tmp_path: Path, sharded: bool) -> None:
    base = tmp_path / "base"
    base.mkdir()
    if sharded:
        torch.save({"in": MATRIX}, base / "pytorch_model-1.bin")
        torch.save({"ids": torch.arange(3)}, base / "pytorch_model-2.bin")
        weight_map = {"in": "pytorch_model-1.bin", "ids": "pytorch_model-2.bin"}
        write_json(base / "pytorch_model.bin.index.json", {"weight_map": weight_map})
    else:
        torch.save({"in": MATRIX, "ids": torch.arange(3)}, base / "pytorch_model.bin")
    tuned = write_folder(tmp_path / "c", {"in": TUNED, "ids": torch.arange(3)})
    with AlignedFolders(base, {"c": tuned}) as folders:
        assert (folders.aligned.floating, folders.aligned.constant) == (["in"], ["ids"])
        assert torch.equal(folders.read("in")[0], MATRIX)
        assert folders.read_constant("ids").tolist() == [0, 1, 2]


def test_a_pytorch_file_of_other_things_says_how_to_convert(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "pytorch_model.bin").write_bytes(b"no weights at all")
    tuned = write_folder(tmp_path / "c", {"in": TUNED})
    with (
        pytest.raises(InputError, match=r"pytorch_model\.bin: expected a PyTorch file.*save_pretrained"),
        AlignedFolders(tmp_path / "base", {"c": tuned}),
    ):
        pass
