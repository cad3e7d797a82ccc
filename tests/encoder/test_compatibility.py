"""What artefacts were made under, and what is said when it does not fit."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from codiemb_pipeline.encoder.checkpoint import load_tokenizer
from codiemb_pipeline.encoder.compatibility import check_compatible, settings_fingerprint, token_fingerprint
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, write_json

ALL = {"append_eos", "bidirectional", "dimensions", "max_length", "pooling", "projection", "prompts", "tokenizer"}
BASE = "0123456789ab" + "0" * 52


def check(file: Path, wanted: dict[str, Any]) -> None:
    check_compatible(file, wanted, what="hard negatives", stage="mine")


def test_a_stamp_holds_what_matters_to_its_artefact_and_nothing_else(changed):
    tokenizer = load_tokenizer(changed())
    assert set(settings_fingerprint(tokenizer, BASE)) == {*ALL, "weights"}
    assert set(token_fingerprint(tokenizer)) == {"append_eos", "max_length", "prompts", "tokenizer"}


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ({"normalize": False}, set()),
        ({"padding_side": "left"}, set()),
        ({"pooling": "cls"}, {"pooling"}),
        ({"bidirectional": True}, {"bidirectional"}),
        ({"projection": {"dimensions": 4, "seed": 1}}, {"projection"}),
        ({"dimensions": 4}, {"dimensions"}),
        ({"prompts": {"in_pooling": False}}, {"prompts"}),
    ],
)
def test_what_changes_no_token_changes_no_stamp_of_tokens(changed, change, keys):
    before, after = load_tokenizer(changed()), load_tokenizer(changed(**change))
    assert token_fingerprint(after) == token_fingerprint(before)
    first, second = settings_fingerprint(before, BASE), settings_fingerprint(after, BASE)
    assert {key for key in first if first[key] != second[key]} == keys


@pytest.mark.parametrize(
    ("change", "key", "values"),
    [
        ({"max_length": 16}, "max_length", ["32", "16"]),
        ({"pooling": "cls"}, "pooling", ['"mean"', '"cls"']),
        ({"projection": {"dimensions": 4, "seed": 1}}, "projection", ["null", '{"dimensions": 4, "seed": 1}']),
    ],
)
def test_defect_8_a_refusal_names_the_artefact_the_key_both_values_and_the_way_out(
    changed, tmp_path, change, key, values
):
    file = tmp_path / "made_under.json"
    write_json(file, settings_fingerprint(load_tokenizer(changed()), BASE))
    check(file, settings_fingerprint(load_tokenizer(changed()), BASE))
    with pytest.raises(InputError) as caught:
        check(file, settings_fingerprint(load_tokenizer(changed(**change)), BASE))
    named = [str(file), key, *values, "hard negatives", "dvc repro --single-item --force mine"]
    assert [part for part in named if part not in str(caught.value)] == []


def test_an_artefact_without_a_stamp_is_refused(changed, tmp_path):
    with pytest.raises(InputError, match=r"made_under\.json.*hard negatives.*--force mine"):
        check(tmp_path / "made_under.json", token_fingerprint(load_tokenizer(changed())))


def test_a_key_that_is_newer_than_a_stamp_counts_as_its_default_and_hashes_are_shortened(changed, tmp_path):
    stamp = settings_fingerprint(load_tokenizer(changed()), BASE)
    old = {key: value for key, value in stamp.items() if key not in ("dimensions", "append_eos")}
    write_json(tmp_path / "s.json", old)
    check(tmp_path / "s.json", stamp)
    with pytest.raises(InputError, match="append_eos = false"):
        check(tmp_path / "s.json", {**stamp, "append_eos": True})
    with pytest.raises(InputError, match=r"weights = 0123456789ab\.\.\., .* fedcba987654\.\."):
        check(tmp_path / "s.json", {**stamp, "weights": "fedcba987654" + "0" * 52})


def test_the_hash_of_a_tokenizer_is_of_its_effect(changed, tiny_encoder_folder, tiny_decoder_folder, tmp_path):
    def digest(**change: Any) -> str:
        return token_fingerprint(load_tokenizer(changed(**change)))["tokenizer"]

    tokenizer, first = load_tokenizer(changed()), digest()
    tokenizer.tokenize(["the dog " * 40])  # leaves its truncation behind
    assert token_fingerprint(tokenizer)["tokenizer"] == first == digest(max_length=8)
    assert digest(path=str(tiny_decoder_folder)) != first
    copy = shutil.copytree(tiny_encoder_folder, tmp_path / "copy")
    assert digest(path=str(copy)) == first
    state = read_json(copy / "tokenizer.json")
    write_json(copy / "tokenizer.json", {**state, "normalizer": {**state["normalizer"], "lowercase": False}})
    assert digest(path=str(copy)) != first
