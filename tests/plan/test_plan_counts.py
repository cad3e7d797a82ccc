"""How many examples the plan takes each source to have: by hand, and against what ingest and assemble do."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_run import make_model_input, tiny_params, write_sources

from codiemb_pipeline.assemble.mixture import choose
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES
from codiemb_pipeline.ingest.run import ingest_sources
from codiemb_pipeline.params import Params
from codiemb_pipeline.params.ingest import SourceParams
from codiemb_pipeline.plan import counts
from codiemb_pipeline.plan.amounts import run_amounts
from codiemb_pipeline.plan.counts import COUNTS, MODEL_INPUT, examples_of, expected_train
from codiemb_pipeline.profiles import read_profile
from codiemb_pipeline.train.loop import plan_of_epoch

ROOT = Path(__file__).parents[2]
PAPER = ("bge-large-zh", "e5-large-instruct", "minicpm", "youtu")
BY_HAND = {  # declared, times the share of train in all four profiles of the paper
    "t2ranking": 255462,  # 258,042 * 0.99 = 255,461.58
    "dureader": 85531,  # 86,395 * 0.99 = 85,531.05
    "mmarco_zh": 497883,  # 502,912 * 0.99 = 497,882.88
    "cmedqa2": 99000,
    "bq": 100000,
    "lcqmc": 238766,
    "pawsx": 49401,
    "stsb": 5231,
    "afqmc": 32617,  # 34,334 * 0.95 = 32,617.3
    "cmnli": 391783,
    "ocnli": 50437,
}


def profile(name: str) -> Params:
    return Params.parse(read_profile(name, ROOT))


def registered(name: str, **values) -> SourceParams:
    return SourceParams.parse({"registered": name, "path": None, "splits": None, **values}, "source")


@pytest.fixture
def tiny(tmp_path, tiny_encoder_folder) -> dict:
    return tiny_params(write_sources(tmp_path / "raw"), tiny_encoder_folder)


def numbers_of(values: dict, root: Path) -> dict[str, tuple[int, str]]:
    examples, _ = examples_of(Params.parse(values, ""), root)
    return {name: (count.examples, count.known) for name, count in examples.counts.items()}


def test_a_declared_number_says_where_it_was_read() -> None:
    for name, declared in TRAINING_SOURCES.items():
        assert (declared.examples is not None) == bool(declared.examples_from), name
        assert declared.examples is not None or not declared.examples_about, name


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_profiles_have_all_their_examples_before_anything_was_read(name: str, tmp_path: Path) -> None:
    examples, unknown = examples_of(profile(name), tmp_path)
    assert {key: count.examples for key, count in examples.counts.items()} == BY_HAND
    assert not unknown
    assert not examples.exact
    about = {key for key, count in examples.counts.items() if count.about}
    assert about == {"t2ranking", "dureader", "mmarco_zh", "cmedqa2", "afqmc"}, "shares, and numbers of copies"
    assert all(count.known.startswith("declared: ") for count in examples.counts.values())


@pytest.mark.parametrize("name", PAPER)
@pytest.mark.parametrize("processes", [1, 8])
def test_declared_numbers_give_the_steps_of_the_epoch_that_is_trained(name, processes, tmp_path) -> None:
    """Dynamic sampling, nothing weighted: as many steps as each source fills whole global batches."""
    params = profile(name)
    examples, _ = examples_of(params, tmp_path)
    found = run_amounts(examples, params.train, processes)
    sizes = {"ir": params.train.batch_size.ir * processes, "sts": params.train.batch_size.sts * processes}
    tasks = {key: "ir" if key in ("t2ranking", "dureader", "mmarco_zh", "cmedqa2") else "sts" for key in BY_HAND}
    steps = sum(number // sizes[tasks[key]] for key, number in BY_HAND.items())
    assert found.steps_per_epoch == steps == len(plan_of_epoch(params.train, examples.sources, 0, processes))
    assert found.steps == steps * params.train.epochs


def test_the_steps_of_bge_by_hand(tmp_path) -> None:
    """64 queries: 3991 + 1336 + 7779 + 1546; 32 pairs: 3125 + 7461 + 1543 + 163 + 1019 + 12243 + 1576; five epochs."""
    params = profile("bge-large-zh")
    examples, _ = examples_of(params, tmp_path)
    assert run_amounts(examples, params.train, 1).steps == 5 * 41782


def test_a_limit_cuts_before_the_shares_are_taken() -> None:
    declared = TRAINING_SOURCES["afqmc"]
    shares = {"train": 0.9, "dev": 0.1, "test": 0}
    assert expected_train(registered("afqmc"), declared) == 34334
    assert expected_train(registered("afqmc", limit=1000), declared) == 1000
    assert expected_train(registered("afqmc", limit=1000, splits=shares), declared) == 900
    assert expected_train(registered("afqmc", limit=10**6, splits=shares), declared) == 30901
    assert expected_train(registered("afqmc"), replace(declared, examples=None)) is None


@pytest.mark.parametrize("limit", [None, 1000])
def test_what_is_expected_of_a_declared_number_is_near_what_ingest_makes_of_it(limit, tmp_path) -> None:
    rows = 2000
    pairs = [(f"question {place}", f"answer {place}", place % 2) for place in range(rows)]
    pd.DataFrame(pairs, columns=["sentence1", "sentence2", "score"]).to_parquet(tmp_path / "train.parquet")
    source = {"registered": "afqmc", "path": str(tmp_path), "splits": {"train": 0.8, "dev": 0.2, "test": 0}}
    params = profile("bge-large-zh").ingest.model_copy(
        update={"sources": {"afqmc": SourceParams.parse({**source, "limit": limit}, "source")}}
    )
    ingest_sources(params, tmp_path / "out")
    train = json.loads((tmp_path / "out/counts.json").read_text())["sources"]["afqmc"]["splits"]["train"]
    expected = expected_train(params.sources["afqmc"], replace(TRAINING_SOURCES["afqmc"], examples=rows))
    spread = np.sqrt((limit or rows) * 0.8 * 0.2)
    assert abs(train - expected) < 4 * spread


def test_what_was_made_under_other_settings_counts_for_nothing(tiny, tmp_path) -> None:
    """By what DVC locked: a cap leaves 3 of what ingest counted, and other shares are counted anew."""
    (tmp_path / MODEL_INPUT).parent.mkdir(parents=True)
    (tmp_path / COUNTS).parent.parent.mkdir()
    made = tmp_path / "made"
    made.mkdir()
    make_model_input(tiny, made).rename(tmp_path / MODEL_INPUT)
    (made / "sources").rename((tmp_path / COUNTS).parent)
    locked = {
        "ingest": {"params": {"params.yaml": {"ingest": tiny["ingest"]}}},
        "assemble": {"params": {"params.yaml": {"assemble": tiny["assemble"], "encoder": tiny["encoder"]}}},
    }
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": locked}))

    def known_of(values: dict) -> dict[str, tuple[int, str]]:
        examples, _ = examples_of(Params.parse(values, ""), tmp_path, values)
        return {name: (count.examples, count.known) for name, count in examples.counts.items()}

    assert {known for _, known in known_of(tiny).values()} == {"as assembled"}
    whole, _ = known_of(tiny)["tags"]
    capped = {**tiny, "assemble": {**tiny["assemble"], "caps": {"tags": 3}}}
    assert known_of(capped)["tags"] == (3, "counted by ingest; cut by assemble.caps")
    assert known_of({**tiny, "encoder": {**tiny["encoder"], "max_length": 9}})["tags"][1] == "counted by ingest"
    tags = {**tiny["ingest"]["sources"]["tags"], "splits": {"train": 0.1, "dev": 0.1, "test": 0.8}}
    other = {**tiny, "ingest": {**tiny["ingest"], "sources": {**tiny["ingest"]["sources"], "tags": tags}}}
    number, known = known_of(other)["tags"]
    assert known == "counted now, as ingest does"
    assert 0 < number < whole


def test_small_files_that_are_here_are_counted_as_ingest_counts_them(tiny, tmp_path) -> None:
    params = Params.parse(tiny, "")
    ingest_sources(params.ingest, tmp_path / "out")
    splits = {
        name: counted["splits"]["train"]
        for name, counted in json.loads((tmp_path / "out/counts.json").read_text())["sources"].items()
    }
    known = "counted now, as ingest does"
    assert numbers_of(tiny, tmp_path) == {name: (splits[name], known) for name in ("tags", "words")}


def test_the_quickstart_is_counted_without_a_run(tmp_path) -> None:
    examples, unknown = examples_of(profile("quickstart"), tmp_path)
    assert not unknown
    assert {name: (count.task, count.examples) for name, count in examples.counts.items()} == {
        "semanlink": ("ir", 1660),
        "simlex999": ("sts", 604),
    }


def test_large_files_are_not_read_and_what_is_not_declared_is_said_to_be_unknown(tiny, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(counts, "SMALL", 5000)  # retrieval.jsonl is the first, and less; pairs.tsv weighs more
    examples, unknown = examples_of(Params.parse(tiny, ""), tmp_path)
    assert list(examples.counts) == ["tags"]
    (text,) = unknown
    assert "examples there are of words" in text
    assert "`dvc repro ingest` counts them" in text


def test_packed_files_and_pairs_weigh_what_they_take_to_read(tmp_path) -> None:
    """10,000 bytes of parquet stand for 40,000, and those of pairs for four times as many."""
    file = tmp_path / "rows.parquet"
    file.write_bytes(b"x" * 10_000)
    for name, weight in (("dureader", 40_000), ("afqmc", 160_000)):
        source = SourceParams.parse({"registered": name, "path": str(file), "splits": None}, "source")
        assert counts._bytes_here(name, source, weight) == weight
        assert counts._bytes_here(name, source, weight - 1) is None


def test_a_file_that_can_not_be_read_is_named(tiny, tmp_path) -> None:
    (tmp_path / "raw/pairs.tsv").write_text("left\tright\tscore\na\tb\tfar too good\n")
    examples, unknown = examples_of(Params.parse(tiny, ""), tmp_path)
    assert list(examples.counts) == ["tags"]
    assert len(unknown) == 1
    assert "of words, which is left out here: " in unknown[0]
    assert "pairs.tsv" in unknown[0]


def test_a_number_that_was_found_nowhere_stays_unknown(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(TRAINING_SOURCES, "bq", replace(TRAINING_SOURCES["bq"], examples=None))
    examples, unknown = examples_of(profile("bge-large-zh"), tmp_path)
    assert "bq" not in examples.counts
    assert len(examples.counts) == len(BY_HAND) - 1
    assert unknown == [
        "how many examples there are of bq, which is left out here: the registry declares no number; "
        "`dvc repro ingest` counts them"
    ]


def test_a_source_that_is_not_ingested_is_named(tiny, tmp_path) -> None:
    tiny["assemble"]["train_sources"] = ["tags", "gone"]
    _, unknown = examples_of(Params.parse(tiny, ""), tmp_path)
    assert unknown == ["how many examples there are of gone, which is left out here: it is not among ingest.sources"]


def test_what_ingest_counted_goes_before_what_is_declared(tmp_path) -> None:
    folder = tmp_path / "data/02_intermediate/sources"
    folder.mkdir(parents=True)
    ingested = {"bq": {"task": "sts", "splits": {"train": 99, "dev": 1, "test": 0}}}
    (folder / "counts.json").write_text(json.dumps({"sources": ingested}))
    examples, _ = examples_of(profile("bge-large-zh"), tmp_path)
    assert (examples.counts["bq"].examples, examples.counts["bq"].known) == (99, "counted by ingest")
    assert examples.counts["lcqmc"].known.startswith("declared")


@pytest.mark.parametrize("cap", [1, 10, 10**6])
def test_a_cap_cuts_as_assemble_cuts(cap, tiny, tmp_path) -> None:
    uncapped, _ = numbers_of(tiny, tmp_path)["tags"]
    tiny["assemble"]["caps"] = {"tags": cap}
    capped, known = numbers_of(tiny, tmp_path)["tags"]
    assert capped == len(choose([f"q{place}" for place in range(uncapped)], cap, 1))
    assert ("cut by assemble.caps" in known) == (cap < uncapped)
