"""Mutated encoder folders: the embeddings of the original, or an InputError that names the folder.

The oracle compares embeddings, token ids and merged tensors with those of the unchanged folder, and run.json with what
was parsed of it. It excludes what no reader can notice: a value inside a tensor's data or a vocabulary, a narrower
floating-point type, and settings of config.json and tokenizer_config.json that no shape and no other file repeats
(epsilon, activation, number of heads, side of truncation): another valid value is another encoder.
"""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny_architectures import make_bert, make_qwen3, make_xlmr, make_youtu

from codiemb_pipeline.artifacts.train import Checkpoint, TrainedRun
from codiemb_pipeline.encoder.checkpoint import load_encoder, load_tokenizer, save_encoder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.merge.aligned_tensors import AlignedTensors
from codiemb_pipeline.params import EncoderParams

TEXTS = ["the red dog", "学生看医生", "a  bird\nof the RIVER"]
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
JUNK = st.recursive(
    st.none()
    | st.sampled_from([0, -1, 3, 2**31, 1e300, True, "", "x", "../x", "/etc/passwd", "bert", "\ud800", "x" * 3000]),
    lambda inside: (
        st.lists(inside, max_size=2) | st.dictionaries(st.sampled_from(["x", "type", ""]), inside, max_size=2)
    ),
    max_leaves=3,
)
SHAPED = ("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size", "model_type", "auto_map")
NOT_THERE = ("quantization_config", "transformers_weights", "architectures")
SETTINGS = {
    "config.json": (*SHAPED, *NOT_THERE),
    "tokenizer.json": ("model", "version"),
    "tokenizer_config.json": ("pad_token", "model_max_length", "auto_map", "extra_special_tokens"),
    INDEX: ("weight_map", "metadata"),
}
"""Keys that another file or a shape repeats; of files of ours and of sentence-transformers, all keys."""


@pytest.fixture(scope="module")
def originals(tiny_encoder_params, tmp_path_factory) -> dict[str, tuple[EncoderParams, Path]]:
    """Folders as transformers, the hub, and this pipeline (with a projection) write them, and their settings."""
    root = tmp_path_factory.mktemp("originals")
    folders = {kind: make(root / kind) for kind, make in (("bert", make_bert), ("youtu", make_youtu))}
    found = {kind: (tiny_encoder_params, folder) for kind, folder in folders.items()}
    changes = {"projection": {"dimensions": 12, "seed": 3}, "dimensions": 8}
    params = EncoderParams.parse(tiny_encoder_params.model_dump() | changes, "encoder")
    for kind, make in (("xlm-r", make_xlmr), ("qwen3", make_qwen3)):
        save_encoder(load_encoder(params, make(root / "made" / kind)), root / kind)
        found[kind] = (params, root / kind)
    _shard(root / "xlm-r")
    return found


def _shard(folder: Path) -> None:
    tensors = sorted(load_file(folder / WEIGHTS).items())
    (folder / WEIGHTS).unlink()
    files = {"model-00001-of-00002.safetensors": tensors[::2], "model-00002-of-00002.safetensors": tensors[1::2]}
    for file, part in files.items():
        save_file(dict(part), folder / file, {"format": "pt"})
    weight_map = {name: file for file, part in files.items() for name, _ in part}
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))


def embeddings(params: EncoderParams, folder: Path) -> Any:
    return encode_texts(load_encoder(params, folder), TEXTS, tokens_per_chunk=64).tolist()


def token_ids(params: EncoderParams, folder: Path) -> Any:
    return load_tokenizer(params, folder).tokenize(TEXTS)[0]


@pytest.fixture(scope="module")
def expected(originals) -> dict[tuple[str, Callable], Any]:
    return {(kind, read): read(*place) for kind, place in originals.items() for read in (embeddings, token_ids)}


def tried(read: Callable[[], Any]) -> tuple[Any, str]:
    """Return what was read, or the words in which it was refused."""
    try:
        return read(), ""
    except InputError as error:
        return None, str(error)


def mutate(data: st.DataObject, folder: Path) -> str:
    """Change one file of a folder and return in words how."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix not in (".py", ".md"))
    file = data.draw(st.sampled_from(files), "file")
    weights = file.suffix == ".safetensors"
    ways = ["drop", "truncate", "append", "break"] + (["tensor"] * 3 if weights else ["key"] * 3)
    way = data.draw(st.sampled_from(ways), "way")
    old = file.read_bytes()
    if way == "drop":
        file.unlink()
    elif way == "truncate":
        file.write_bytes(old[: data.draw(st.integers(0, max(len(old.rstrip()) - 1, 0)))])
    elif way == "append":
        file.write_bytes(old + data.draw(st.sampled_from([b"x", b"\xff", b"}", b"{}", b"\x00"])))
    elif way == "break":  # of weights, any bit of the header; elsewhere a bit that leaves no UTF-8
        end = 8 + struct.unpack("<Q", old[:8])[0] if weights else len(old)
        place = data.draw(st.integers(0, end - 1))
        mask = 1 << data.draw(st.integers(0, 7)) if weights else 0x80
        file.write_bytes(old[:place] + bytes([old[place] ^ mask]) + old[place + 1 :])
    elif way == "tensor":
        save_file(_other_tensors(data, load_file(file)), file, {"format": "pt"})
    else:
        _replace_value(data, file)
    return f"{way} {file.name}"


def _other_tensors(data: st.DataObject, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    name = data.draw(st.sampled_from(sorted(tensors)), "tensor")
    tensor = tensors.pop(name)
    changes: dict[str, dict[str, torch.Tensor]] = {
        "dropped": {},
        "renamed": {
            data.draw(st.sampled_from([f"{name}x", f"bert.{name}", f"model.{name}", "x", f"x.{name}"])): tensor
        },
        "reshaped": {name: tensor.reshape(-1) if tensor.ndim > 1 else tensor[None]},
        "cut": {name: tensor[:-1].clone()},
        "integers": {name: (tensor * 100).to(data.draw(st.sampled_from([torch.int8, torch.int32, torch.bool])))},
        "8 bits": {name: tensor.to(torch.float8_e4m3fn)},
        "not finite": {name: torch.full_like(tensor, data.draw(st.sampled_from([torch.nan, torch.inf])))},
        "wider": {name: tensor.double()},
        "twice": {name: tensor, f"{name}.copy": tensor.clone()},
    }
    return tensors | changes[data.draw(st.sampled_from(sorted(changes)), "change")]


def _replace_value(data: st.DataObject, file: Path) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    limited = SETTINGS.get(file.name) if (file.parent / "tokenizer.json").exists() else None
    places = content if isinstance(content, list) else [content]
    if not limited or file.name == INDEX:
        places = [*places, *(value for part in places for value in part.values() if isinstance(value, dict))]
    place = data.draw(st.sampled_from(places), "place")
    key = data.draw(st.sampled_from(limited if limited and place is content else [*sorted(place), "x"]), "key")
    if data.draw(st.booleans(), "removed"):
        place.pop(key, None)
    else:
        place[key] = data.draw(JUNK, "value")
    file.write_text(json.dumps(content), encoding="utf-8")


@given(data=st.data(), kind=st.sampled_from(["bert", "xlm-r", "qwen3", "youtu"]))
def test_a_mutated_folder_gives_the_same_or_is_refused(originals, expected, data, kind):
    params, original = originals[kind]
    with TemporaryDirectory() as scratch:
        folder = shutil.copytree(original, Path(scratch) / "folder")
        how = mutate(data, folder)
        for read in (embeddings, token_ids):
            found, said = tried(lambda read=read: read(params, folder))
            event(f"{how}: {'refused' if said else 'the same'}")
            assert scratch in said if said else found == expected[kind, read], how
        merged, said = tried(lambda: [*AlignedTensors(original, {"mutated": folder}).walk()])
        assert scratch in said if said else not any(deltas.any() for _, _, deltas in merged), how


RUN = TrainedRun(
    base_sha256="0" * 64,
    base=Checkpoint(name="step-000000", step=0, dev={"mean": 0.5}),
    checkpoints=[Checkpoint(name="step-000010", step=10, dev={"mean": 0.6, "ir": 0.7})],
)


@given(data=st.data())
def test_a_mutated_run_json_is_what_it_says_or_is_refused(tmp_path_factory, data):
    """No checkpoint lies outside the run, no score is no number."""
    content = RUN.model_dump()
    place = data.draw(st.sampled_from([content, content["base"], content["checkpoints"][0], content["base"]["dev"]]))
    place[data.draw(st.sampled_from([*place, "x"]))] = data.draw(JUNK | st.just(float("nan")))
    folder = tmp_path_factory.mktemp("run")
    text = json.dumps(content)
    (folder / "run.json").write_text(text[: data.draw(st.sampled_from([len(text), len(text) - 1]))])
    run, said = tried(lambda: TrainedRun.of(folder))
    if said:
        assert str(folder) in said
        return
    assert run.model_dump() == content
    for checkpoint in (run.base, *run.checkpoints):
        assert (folder / checkpoint.name).resolve().parent == folder.resolve()
