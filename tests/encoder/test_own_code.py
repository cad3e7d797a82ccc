"""Python code that a model brings along: only when asked for, only pinned, and its failures in words."""

from __future__ import annotations

import fcntl
import json
from fnmatch import fnmatch
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from tiny_architectures import make_own_code

from codiemb_pipeline.encoder.backbone import own_classes, prepare_own_code
from codiemb_pipeline.encoder.checkpoint import (
    base_folder,
    load_encoder,
    load_tokenizer,
    save_encoder,
)
from codiemb_pipeline.errors import InputError

pytestmark = pytest.mark.usefixtures("own_code_cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_own_code(tmp_path_factory.mktemp("base") / "tiny")


UNASKED = r"encoder\.trust_remote_code: .*tiny.*: its architecture is in Python code of its own \(modeling_tiny\.py\)"


def test_code_is_not_run_unasked(changed: Any, folder: Path, tmp_path: Path) -> None:
    params = changed(path=str(folder))
    for load in (load_encoder, load_tokenizer):
        with pytest.raises(InputError, match=UNASKED):
            load(params)


def test_nor_when_transformers_knows_an_architecture_of_that_name(changed: Any, folder: Path, tmp_path: Path) -> None:
    """It would take its own class without a word, which need not be the one that the weights are of."""
    make_own_code(tmp_path / "tiny")
    config = json.loads((tmp_path / "tiny" / "config.json").read_text())
    (tmp_path / "tiny" / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    with pytest.raises(InputError, match=UNASKED):
        load_encoder(changed(path=str(tmp_path / "tiny")))


def test_code_of_the_tokenizer_counts_too(changed: Any, tiny_encoder_folder: Path, tmp_path: Path) -> None:
    for file in tiny_encoder_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config["auto_map"] = {"AutoTokenizer": ["mine.Slow", None]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert own_classes(tmp_path) == ["mine.Slow"]
    with pytest.raises(InputError, match=r"its own \(mine\.py\)"):
        load_tokenizer(changed(path=str(tmp_path)))


def test_a_folder_without_code_has_none_to_ask_for(changed: Any, tiny_encoder_folder: Path) -> None:
    assert own_classes(tiny_encoder_folder) == []
    load_tokenizer(changed(trust_remote_code=True))


@pytest.mark.parametrize("revision", [None, "main", "v1.0", "c0cb2de", "C0CB2DE33FB366E17C30F9D53142FF11BC18E049"])
def test_code_from_the_hub_needs_a_commit(changed: Any, revision: str | None) -> None:
    with pytest.raises(InputError, match=r"encoder\.revision: a/b: .*expected the commit .*40 hexadecimal") as caught:
        base_folder(changed(path="a/b", trust_remote_code=True, revision=revision))
    assert repr(revision) in str(caught.value)


def test_with_a_commit_it_goes_on_to_the_hub_and_so_does_a_model_without_code(changed: Any) -> None:
    for values in ({"trust_remote_code": True, "revision": "c0cb2de33fb366e17c30f9d53142ff11bc18e049"}, {}):
        with pytest.raises(InputError, match="the hub gave no such model"):
            base_folder(changed(path="nobody/no-such-model", **values))


def test_the_commit_is_what_is_fetched_without_the_weights_of_other_frameworks(
    changed: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda path, **rest: asked.update(rest) or str(folder))
    commit = "c0cb2de33fb366e17c30f9d53142ff11bc18e049"
    assert base_folder(changed(path="a/b", trust_remote_code=True, revision=commit)) == folder
    assert asked["revision"] == commit
    kept = {"model.safetensors", "pytorch_model.bin", "modeling_a.py", "1_Pooling/config.json", "onnx/model.onnx"}
    dropped = {name for name in kept if any(fnmatch(name, pattern) for pattern in asked["ignore_patterns"])}
    assert dropped == {"onnx/model.onnx"}


def test_a_local_folder_needs_no_commit(changed: Any, folder: Path) -> None:
    load_encoder(changed(path=str(folder), trust_remote_code=True))


def test_code_of_another_repository_is_refused(changed: Any, tmp_path: Path) -> None:
    make_own_code(tmp_path / "tiny")
    config = json.loads((tmp_path / "tiny" / "config.json").read_text())
    config["auto_map"]["AutoModel"] = "else/where--modeling_tiny.TinyModel"
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"found 'else/where--modeling_tiny\.TinyModel', code of another repository"):
        load_tokenizer(changed(path=str(tmp_path / "tiny"), trust_remote_code=True))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("from transformers.utils import gone_in_this_version\n", "ImportError: cannot import name 'gone_in"),
        ("import nowhere_at_all\n", "ImportError: This modeling file requires"),
        ("def broken(:\n", "SyntaxError: invalid syntax"),
    ],
)
def test_code_for_another_version_is_named_with_its_reason(
    changed: Any, tmp_path: Path, code: str, reason: str
) -> None:
    """MiniCPM-Embedding's was written for transformers 4.37, and version 5 took some names away."""
    make_own_code(tmp_path / "tiny", code=code)
    with pytest.raises(InputError, match=r"its own code does not run under transformers 5\.\d+") as caught:
        load_encoder(changed(path=str(tmp_path / "tiny"), trust_remote_code=True))
    assert reason in str(caught.value)
    assert str(tmp_path / "tiny") in str(caught.value)


def test_code_that_fails_when_it_runs_is_named_too(changed: Any, folder: Path, tmp_path: Path) -> None:
    source = (folder / "modeling_tiny.py").read_text().replace("all_states = [states]", "all_states = states.gone")
    make_own_code(tmp_path / "tiny", code=source)
    with pytest.raises(InputError, match="AttributeError: 'Tensor' object has no attribute 'gone'"):
        load_encoder(changed(path=str(tmp_path / "tiny"), trust_remote_code=True, bidirectional=True))


def test_code_that_attends_one_way_whatever_it_is_asked_is_refused(changed: Any, tmp_path: Path) -> None:
    make_own_code(tmp_path / "tiny", sees_ahead=False)
    values = {"path": str(tmp_path / "tiny"), "trust_remote_code": True}
    load_encoder(changed(**values))
    with pytest.raises(InputError, match=r"encoder\.bidirectional: .*found TinyModel"):
        load_encoder(changed(**values, bidirectional=True))


def test_a_saved_folder_brings_the_code_along_and_is_not_run_unasked_either(
    changed: Any, folder: Path, tmp_path: Path
) -> None:
    params = changed(path=str(folder), trust_remote_code=True)
    encoder = load_encoder(params)
    save_encoder(encoder, tmp_path / "saved")
    assert (tmp_path / "saved" / "modeling_tiny.py").read_bytes() == (folder / "modeling_tiny.py").read_bytes()
    again = load_encoder(changed(path="/nowhere", trust_remote_code=True), tmp_path / "saved")
    for name, weight in encoder.model.named_parameters():
        assert torch.equal(weight, again.model.get_parameter(name))
    with pytest.raises(InputError, match=r"its own \(modeling_tiny\.py\)"):
        load_encoder(changed(path=str(folder)), tmp_path / "saved")


def test_processes_that_load_it_together_do_so_one_by_one(changed: Any, folder: Path, own_code_cache: Path) -> None:
    """transformers copies the code into a cache first, and half of a file would be no Python."""
    params = changed(path=str(folder), trust_remote_code=True)
    other = Thread(target=prepare_own_code, args=(folder, params))
    with (own_code_cache / "codiemb.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        other.start()
        other.join(timeout=0.3)
        assert other.is_alive()
    other.join(timeout=10)
    assert not other.is_alive()
