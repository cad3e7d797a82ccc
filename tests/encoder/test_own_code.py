"""Python code that a model brings along: only when asked for, only pinned, only if it is saved whole; its failures."""

import fcntl
import json
import shutil
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from tiny_architectures import make_own_code

from codiemb_pipeline.encoder.checkpoint import base_folder, load_encoder, load_tokenizer, save_encoder
from codiemb_pipeline.encoder.own_code import own_classes, prepare_own_code
from codiemb_pipeline.errors import InputError

pytestmark = pytest.mark.usefixtures("own_code_cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_own_code(tmp_path_factory.mktemp("base") / "tiny")


UNASKED = r"encoder\.trust_remote_code: .*tiny.*modeling_tiny\.py"
COMMIT = "c0cb2de33fb366e17c30f9d53142ff11bc18e049"


def set_json(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize("known_to_transformers", [False, True])
def test_code_is_not_run_unasked(changed, tmp_path, known_to_transformers):
    """transformers would take its own class of the same name, which need not be the one that the weights are of."""
    folder = make_own_code(tmp_path / "tiny")
    if known_to_transformers:
        set_json(folder / "config.json", model_type="llama")
    for load in (load_encoder, load_tokenizer):
        with pytest.raises(InputError, match=UNASKED):
            load(changed(path=str(folder)))


def test_code_of_the_tokenizer_counts_too(changed, tiny_encoder_folder, tmp_path):
    assert own_classes(tiny_encoder_folder) == []
    folder = shutil.copytree(tiny_encoder_folder, tmp_path / "copy")
    set_json(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["mine.Slow", None]})
    assert own_classes(folder) == ["mine.Slow"]
    with pytest.raises(InputError, match=r"mine\.py"):
        load_tokenizer(changed(path=str(folder)))


@pytest.mark.parametrize("revision", [None, "main", "c0cb2de", COMMIT.upper()])
def test_code_from_the_hub_needs_a_commit(changed, revision):
    with pytest.raises(InputError, match=r"encoder\.revision: a/b") as caught:
        base_folder(changed(path="a/b", trust_remote_code=True, revision=revision))
    assert repr(revision) in str(caught.value)
    with pytest.raises(InputError, match=r"encoder\.path: model nobody/none"):  # without code, the hub is asked
        base_folder(changed(path="nobody/none", revision=revision))


def test_the_commit_is_what_is_fetched_without_the_weights_of_other_frameworks(changed, hub):
    kept = {"model.safetensors", "pytorch_model.bin", "modeling_a.py", "1_Pooling/config.json"}
    hub.serve("model", "a/b", {name: name.encode() for name in (*kept, "onnx/model.onnx")}, ["0" * 40, COMMIT])
    folder = base_folder(changed(path="a/b", trust_remote_code=True, revision=COMMIT))
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == kept
    assert folder.name == COMMIT


def test_code_of_another_repository_is_refused(changed, tmp_path):
    folder = make_own_code(tmp_path / "tiny")
    set_json(folder / "config.json", auto_map={"AutoModel": "else/where--modeling_tiny.TinyModel"})
    with pytest.raises(InputError, match=r"found 'else/where--modeling_tiny\.TinyModel'"):
        load_tokenizer(changed(path=str(folder), trust_remote_code=True))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("from transformers.utils import gone_in_this_version\n", "ImportError: cannot import name 'gone_in"),
        ("import nowhere_at_all\n", "ImportError: This modeling file requires"),
        ("def broken(:\n", "SyntaxError: invalid syntax"),
        (None, "AttributeError: 'Tensor' object has no attribute 'gone'"),  # only when it runs
    ],
)
def test_code_for_another_version_is_named_with_its_reason(changed, folder, tmp_path, code, reason):
    """MiniCPM-Embedding's was written for transformers 4.37, and version 5 took some names away."""
    whole = (folder / "modeling_tiny.py").read_text()
    code = code or whole.replace("all_states = [states]", "all_states = states.gone")
    place = make_own_code(tmp_path / "tiny", code=code)
    with pytest.raises(InputError, match=r"transformers 5\.\d+") as caught:
        load_encoder(changed(path=str(place), trust_remote_code=True, bidirectional=True))
    assert reason in str(caught.value)
    assert str(place) in str(caught.value)


def test_code_that_attends_one_way_whatever_it_is_asked_is_refused(changed, tmp_path):
    make_own_code(tmp_path / "tiny", sees_ahead=False)
    values = {"path": str(tmp_path / "tiny"), "trust_remote_code": True}
    load_encoder(changed(**values))
    with pytest.raises(InputError, match=r"encoder\.bidirectional: .*found TinyModel"):
        load_encoder(changed(**values, bidirectional=True))


def test_a_saved_folder_brings_the_code_along_and_is_not_run_unasked_either(changed, folder, tmp_path):
    params = changed(path=str(folder), trust_remote_code=True)
    encoder = load_encoder(params)
    save_encoder(encoder, tmp_path / "saved")
    assert (tmp_path / "saved" / "modeling_tiny.py").read_bytes() == (folder / "modeling_tiny.py").read_bytes()
    again = load_encoder(changed(path="/nowhere", trust_remote_code=True), tmp_path / "saved")
    for name, weight in encoder.model.named_parameters():
        assert torch.equal(weight, again.model.get_parameter(name))
    with pytest.raises(InputError, match=r"its own \(modeling_tiny\.py\)"):
        load_encoder(changed(path=str(folder)), tmp_path / "saved")


def test_processes_that_load_it_together_do_so_one_by_one(changed, folder, own_code_cache):
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


BUILT = "        self.norm = nn.RMSNorm(config.hidden_size)\n"


@pytest.mark.parametrize(
    ("built", "used", "reason"),
    [
        # transformers 5 leaves a buffer that is not saved uninitialised: any numbers, and no error.
        ('self.register_buffer("speeds", torch.ones(1), persistent=False)', "self.speeds", r"infinity \(speeds\)"),
        ("self.speeds = __import__('random').random()", "(1 + self.speeds)", "same finite token states"),
    ],
)
def test_code_whose_states_depend_on_what_is_not_saved_is_refused(changed, folder, tmp_path, built, used, reason):
    code = (folder / "modeling_tiny.py").read_text().replace(BUILT, f"{BUILT}        {built}\n")
    code = code.replace("self.norm(states) * weights", f"self.norm(states) * {used} * weights")
    place = make_own_code(tmp_path / "tiny", code=code)
    with pytest.raises(InputError, match=reason) as caught:
        load_encoder(changed(path=str(place), trust_remote_code=True))
    assert str(place) in str(caught.value)
