"""The stage from tables on disk to files on disk."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from tiny_run import make_model_input, tiny_params, write_sources

from codiemb_pipeline.artifacts.assemble import Manifest, TokenStore, TrainingArrays, read_dev
from codiemb_pipeline.artifacts.base import SourceOrigin
from codiemb_pipeline.artifacts.ingest import IngestCounts, PairTables, SourceCounts, read_pairs
from codiemb_pipeline.assemble.examples import source_examples
from codiemb_pipeline.assemble.run import assemble
from codiemb_pipeline.encoder.checkpoint import load_tokenizer
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json


@pytest.fixture
def run(make_params, tiny_encoder_params, sources, hard_negatives, tmp_path):
    def run(name: str = "out", **changes) -> Path:
        assemble(make_params(**changes), tiny_encoder_params, sources, hard_negatives, tmp_path / name)
        return tmp_path / name

    return run


def test_the_arrays_hold_the_examples_in_the_order_of_params_and_rows(
    run, make_params, sources, hard_negatives, tiny_encoder_params
):
    names = ["words", "animals"]
    out, params = run(train_sources=names), make_params(train_sources=names)
    examples = [row for name in names for row in source_examples(name, params, sources, hard_negatives)[0]]
    backend = load_tokenizer(tiny_encoder_params).backend
    store, arrays = TokenStore(out / "tokens"), TrainingArrays(out / "train")

    def back(numbers) -> tuple[str, ...]:
        return tuple(backend.decode(store[int(number)].tolist(), skip_special_tokens=True) for number in numbers)

    assert [(row.source, row.id) for row in examples] == [
        *(("words", f"p{number}") for number in range(4)),
        *(("animals", f"q{number}") for number in range(3)),
    ]
    assert len(arrays) == len(examples)
    for number, row in enumerate(examples):
        prefix = "query : " if row.task == "ir" else ""
        assert back([arrays.query[number]]) == (prefix + row.query,)
        assert back(arrays.positives(number)) == row.positives
        assert back(arrays.negatives(number)) == row.negatives
        assert row.scores == (() if np.isnan(arrays.gold[number]) else (arrays.gold[number],))
    assert back(arrays.positives(4)) == ("document cat", "document dog")
    assert back(arrays.negatives(4)) == ("document house", "document paper", "document bird")
    ranges = [(entry.name, entry.task, entry.start, entry.stop) for entry in arrays.sources]
    assert ranges == [("words", "sts", 0, 4), ("animals", "ir", 4, 7)]


def test_dev_sets_share_the_token_store(run):
    out = run()
    store, (animals, words) = TokenStore(out / "tokens"), read_dev(out / "dev")
    assert (animals.name, words.name) == ("animals", "words")
    used = np.concatenate([animals.queries, animals.documents, words.pairs.ravel()])
    assert used.max() < len(store)
    assert store.prompt_lengths(animals.queries).tolist() == [3, 3]
    assert TrainingArrays(out / "train").positives(1).tolist() == [animals.documents[1]]


def test_the_manifest_counts_what_the_files_hold(run):
    out = run(max_negatives=2)
    manifest, store, arrays = (
        read_json(out / "manifest.json"),
        TokenStore(out / "tokens"),
        TrainingArrays(out / "train"),
    )
    animals, words = manifest["train"]["animals"], manifest["train"]["words"]
    assert (animals["examples"], animals["positives"], animals["negatives"]) == (3, 4, 4)
    assert animals["examples_without_negatives"] == 1
    assert animals["dropped"]["negatives_over_limit"] == 1
    assert (words["examples"], words["texts"]) == (4, 5)
    used = np.unique([arrays.query[0], arrays.query[1], arrays.query[2], *np.concatenate([
        part(number) for number in range(3) for part in (arrays.positives, arrays.negatives)
    ])])  # fmt: skip
    assert animals["texts"] == len(used)
    assert animals["tokens"] == store.lengths(used).sum()
    assert manifest["texts"] == len(store)
    assert manifest["tokens"] == store.lengths(np.arange(len(store))).sum()
    assert manifest["texts_at_max_length"] == 0
    assert manifest["dev"]["animals"]["texts"] == 2 + 6


def test_texts_that_fill_the_length_are_counted(run, sources):
    pairs = read_pairs(sources, "words").pairs.copy()
    pairs.loc[0, "text_b"] = "dog " * 40
    PairTables(pairs).write(sources / "words")
    manifest = read_json(run() / "manifest.json")
    assert manifest["train"]["words"]["texts_at_max_length"] == manifest["texts_at_max_length"] == 1
    assert manifest["train"]["animals"]["texts_at_max_length"] == 0


def test_two_runs_write_the_same_bytes(run):
    first, second = (run(name, caps={"animals": 2}, dev_documents=4) for name in ("first", "second"))
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) == 18
    assert files == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    assert [name for name in files if (first / name).read_bytes() != (second / name).read_bytes()] == []


@pytest.mark.parametrize("field", ["train_sources", "dev_sources"])
def test_a_source_that_does_not_exist_is_named_before_anything_is_written(run, tmp_path, field):
    with pytest.raises(InputError, match=r"source 'plants': .*animals, words"):
        run(**{field: ["words", "plants"]})
    assert not (tmp_path / "out").exists()


def test_a_source_without_training_rows_is_named(run, sources):
    pairs = read_pairs(sources, "words").pairs
    PairTables(pairs[pairs["split"] == "dev"]).write(sources / "words")
    with pytest.raises(InputError, match=r"source 'words': .*train_sources, but has no training rows"):
        run()


def test_no_dev_sources_are_fine(run):
    assert read_dev(run(dev_sources=[]) / "dev") == []


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_repeated_texts_in_the_files_never_reach_assemble_as_an_error(seed, tiny_encoder_folder, tmp_path):
    """Ingest and mine remove what assemble refuses, except positives of equal text, which it drops."""
    draw = random.Random(seed)
    words = ["dog", "cat", "bird", "the dog", "a cat", "old house"]
    forms = [form for word in words for form in (word, word.title(), word.replace(" ", "  "), f" {word} ")]
    raw = write_sources(tmp_path / "raw")
    with (raw / "retrieval.jsonl").open("a") as file:
        for _ in range(60):
            row = {"query": draw.choice(forms), "pos": draw.choices(forms, k=3), "neg": draw.choices(forms, k=4)}
            file.write(json.dumps(row) + "\n")
    with (raw / "pairs.tsv").open("a") as file:
        file.writelines(f"{draw.choice(forms)}\t{draw.choice(forms)}\t{draw.randint(0, 5)}\n" for _ in range(60))
    (tmp_path / "data").mkdir()
    out = make_model_input(tiny_params(raw, tiny_encoder_folder), tmp_path / "data")
    assert Manifest.read(out / "manifest.json").train["tags"].dropped["positives_repeated"] > 0


def test_the_manifest_names_the_commit_and_licence_of_a_registered_source(run, sources):
    origin = SourceOrigin(repository="C-MTEB/BQ", revision="0" * 40, licence="none stated")
    counts = {
        "animals": SourceCounts(task="ir", splits={}),
        "words": SourceCounts(task="sts", splits={}, origins=(origin,)),
    }
    IngestCounts(sources=counts).write(sources / "counts.json")
    train = Manifest.read(run() / "manifest.json").train
    assert {name: entry.origins for name, entry in train.items()} == {"animals": (), "words": (origin,)}
