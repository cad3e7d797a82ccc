"""A stage refuses what an earlier one made under other settings."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_encoder import make_tiny_encoder
from tiny_run import make_model_input, tiny_params, write_sources

from codiemb_pipeline.assemble.run import assemble
from codiemb_pipeline.encoder.checkpoint import load_tokenizer
from codiemb_pipeline.encoder.compatibility import token_fingerprint
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params import EncoderParams, Params
from codiemb_pipeline.train import run as train_run
from codiemb_pipeline.train.run import train_encoder

PROMPTS = {"template": "{instruction}: ", "document_prefix": "", "in_pooling": True, "instructions": {"ir": "find"}}


@pytest.fixture
def run(make_params, tiny_encoder_params: EncoderParams, sources: Path, hard_negatives: Path, tmp_path: Path):
    def run(assemble_changes: dict[str, Any] | None = None, **changes: Any) -> Path:
        encoder = EncoderParams.parse({**tiny_encoder_params.model_dump(), **changes}, "encoder")
        assemble(make_params(**(assemble_changes or {})), encoder, sources, hard_negatives, tmp_path / "out")
        return tmp_path / "out"

    return run


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompts": PROMPTS}, "made under prompts = "),
        ({"max_length": 16}, "made under max_length = 32, but params.yaml, encoder now has 16"),
        ({"pooling": "last"}, 'made under pooling = "mean", but params.yaml, encoder now has "last"'),
        ({"dimensions": 4}, "made under dimensions = null, but params.yaml, encoder now has 4"),
        ({"bidirectional": True}, "made under bidirectional = false, but params.yaml, encoder now has true"),
    ],
)
def test_hard_negatives_mined_under_other_settings_are_refused_before_anything_is_written(
    run, hard_negatives, tmp_path, change, message
):
    with pytest.raises(InputError) as caught:
        run(**change)
    assert f"{hard_negatives / 'made_under.json'}: {message}" in str(caught.value)
    assert "make the hard negatives again (dvc repro --single-item --force mine)" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_hard_negatives_mined_by_another_encoder_are_refused(run, tmp_path):
    other = make_tiny_encoder(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match=r"made under weights = .*, but the base encoder now has"):
        run(path=str(other))


def test_the_same_encoder_in_another_place_is_not_refused(run, tiny_encoder_folder, tmp_path):
    run(path=str(shutil.copytree(tiny_encoder_folder, tmp_path / "e5-minicpm")), normalize=False, padding_side="left")


def test_hard_negatives_without_a_stamp_are_refused(run, hard_negatives):
    (hard_negatives / "made_under.json").unlink()
    with pytest.raises(InputError, match=r"found no such file; make them again"):
        run()


def test_nobody_asks_for_hard_negatives_where_none_are_used(run, hard_negatives):
    shutil.rmtree(hard_negatives)
    run({"train_sources": ["words"]})


def test_token_ids_are_stamped(run, tiny_encoder_params):
    stamp = token_fingerprint(load_tokenizer(tiny_encoder_params))
    assert read_json(run() / "made_under.json") == stamp


def test_training_refuses_examples_made_under_other_settings(tiny_encoder_folder, tmp_path, monkeypatch):
    """Pooling and the like do not matter to token ids: with those the training is launched."""
    values = tiny_params(write_sources(tmp_path / "raw"), tiny_encoder_folder)
    (tmp_path / "data").mkdir()
    model_input = make_model_input(values, tmp_path / "data")
    launched = []

    def launch(*_: Any) -> None:
        launched.append(1)
        raise InputError("launched")

    monkeypatch.setattr(train_run, "launch_training", launch)

    def train(**changes: Any) -> None:
        params = Params.parse({**values, "encoder": {**values["encoder"], **changes}}, "")
        places = {"work": tmp_path / "work", "checkpoints": tmp_path / "ckpt", "curves": tmp_path / "curves"}
        train_encoder(params.train, params.encoder, model_input=model_input, **places, run="main")

    for change, key in (({"max_length": 16}, "max_length = 24"), ({"prompts": PROMPTS}, "prompts = ")):
        with pytest.raises(InputError, match=f"made under {key}.*make the examples again .*--force assemble"):
            train(**change)
    assert not launched
    for change in ({}, {"pooling": "cls"}, {"normalize": False}, {"dimensions": 4}):
        with pytest.raises(InputError, match="launched"):
            train(**change)
    (model_input / "made_under.json").unlink()
    with pytest.raises(InputError, match=r"made_under\.json: expected the settings the examples were made under"):
        train()
