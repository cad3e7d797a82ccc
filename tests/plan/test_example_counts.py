"""How many examples the plan counts for each source: by hand, and against what ingest and assemble do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from tiny_run import make_model_input, tiny_params, write_sources

from codiemb_pipeline.assemble.examples import choose
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES
from codiemb_pipeline.ingest.run import ingest_sources
from codiemb_pipeline.params import Params
from codiemb_pipeline.plan import budget
from codiemb_pipeline.plan.budget import COUNTS, MODEL_INPUT, count_examples, run_budget
from codiemb_pipeline.profiles import read_profile

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
RETRIEVAL = ("t2ranking", "dureader", "mmarco_zh", "cmedqa2")


@pytest.fixture
def tiny(tmp_path, tiny_encoder_folder) -> dict:
    return tiny_params(write_sources(tmp_path / "raw"), tiny_encoder_folder)


def numbers_of(values: dict, root: Path) -> dict[str, tuple[int, str]]:
    """Return the number and the first words of its evidence, by source."""
    counts, _ = count_examples(Params.parse(values), root, values)
    return {count.name: (count.examples, count.evidence.partition(",")[0]) for count in counts}


def test_a_declared_number_has_a_reference():
    for name, declared in TRAINING_SOURCES.items():
        assert (declared.examples is not None) == bool(declared.examples_from), name
        assert declared.examples is not None or not declared.examples_about, name


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_profiles_have_all_their_examples_before_anything_was_read(name, tmp_path):
    """Dynamic sampling, nothing weighted: an epoch has as many steps as each source fills whole global batches."""
    params = Params.parse(read_profile(name, ROOT))
    counts, unknown = count_examples(params, tmp_path)
    assert {count.name: count.examples for count in counts} == BY_HAND
    assert not unknown
    about = {count.name for count in counts if count.approximate}
    assert about == {*RETRIEVAL, "afqmc"}, "shares, and numbers of copies"
    assert all(count.evidence.startswith("declared: ") and count.lengths is None for count in counts)
    for processes in (1, 8):
        batch = {task: size * processes for task, size in params.train.batch_size.model_dump().items()}
        steps = sum(number // batch["ir" if key in RETRIEVAL else "sts"] for key, number in BY_HAND.items())
        found = run_budget(counts, 512, params.train, processes)
        assert (found.steps_per_epoch, found.steps) == (steps, steps * params.train.epochs)


def afqmc(**source: Any) -> dict[str, Any]:
    """Return the parameters of a profile that trains on AFQMC alone."""
    values = read_profile("bge-large-zh", ROOT)
    source = {"registered": "afqmc", "path": None, "splits": {"train": 0.9, "dev": 0.1, "test": 0}, **source}
    values["ingest"]["sources"] = {"afqmc": source}
    values["assemble"] |= {"train_sources": ["afqmc"], "dev_sources": ["afqmc"]}
    return values


def test_a_limit_cuts_before_the_shares_are_taken(tmp_path):
    for source, expected in (
        ({"splits": None}, 34334),
        ({"splits": None, "limit": 1000}, 1000),
        ({"limit": 1000}, 900),
        ({"limit": 10**6}, 30901),
    ):
        assert numbers_of(afqmc(**source), tmp_path)["afqmc"][0] == expected


@pytest.mark.parametrize("limit", [None, 1000])
def test_the_count_of_a_declared_number_is_near_that_of_ingest(limit, tmp_path, monkeypatch):
    rows = 2000
    pairs = [(f"question {index}", f"answer {index}", index % 2) for index in range(rows)]
    pd.DataFrame(pairs, columns=["sentence1", "sentence2", "score"]).to_parquet(tmp_path / "train.parquet")
    here = afqmc(path=str(tmp_path), limit=limit)
    ingest_sources(Params.parse(here).ingest, tmp_path / "out")
    train = json.loads((tmp_path / "out/counts.json").read_text())["sources"]["afqmc"]["splits"]["train"]
    monkeypatch.setitem(TRAINING_SOURCES, "afqmc", TRAINING_SOURCES["afqmc"].model_copy(update={"examples": rows}))
    expected, _ = numbers_of(afqmc(limit=limit), tmp_path)["afqmc"]
    assert abs(train - expected) < 4 * np.sqrt((limit or rows) * 0.9 * 0.1)


def test_results_made_under_other_settings_are_not_counted(tiny, tmp_path):
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

    assert {evidence for _, evidence in numbers_of(tiny, tmp_path).values()} == {"as assembled"}
    whole, _ = numbers_of(tiny, tmp_path)["tags"]
    capped = {**tiny, "assemble": {**tiny["assemble"], "caps": {"tags": 3}}}
    assert numbers_of(capped, tmp_path)["tags"] == (3, "counted by ingest; cut by assemble.caps")
    shorter = {**tiny, "encoder": {**tiny["encoder"], "max_length": 9}}
    assert numbers_of(shorter, tmp_path)["tags"][1] == "counted by ingest"
    tags = {**tiny["ingest"]["sources"]["tags"], "splits": {"train": 0.1, "dev": 0.1, "test": 0.8}}
    other = {**tiny, "ingest": {**tiny["ingest"], "sources": {**tiny["ingest"]["sources"], "tags": tags}}}
    number, evidence = numbers_of(other, tmp_path)["tags"]
    assert evidence == "counted now"
    assert 0 < number < whole


def test_large_files_are_not_read_and_a_number_that_nobody_declares_is_unknown(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "SMALL", (tmp_path / "raw/retrieval.jsonl").stat().st_size)
    counts, unknown = count_examples(Params.parse(tiny), tmp_path)
    assert [count.name for count in counts] == ["tags"]
    assert len(unknown) == 1
    assert "words" in unknown[0]
    assert "dvc repro ingest" in unknown[0]


@pytest.mark.parametrize("fault", ["unreadable file", "source that ingest lacks", "no declared number"])
def test_a_source_without_a_number_is_named_and_left_out(fault, tiny, tmp_path, monkeypatch):
    if fault == "no declared number":
        monkeypatch.setitem(TRAINING_SOURCES, "afqmc", TRAINING_SOURCES["afqmc"].model_copy(update={"examples": None}))
        tiny["ingest"]["sources"]["words"] = {"registered": "afqmc", "path": None, "splits": None}
    elif fault == "source that ingest lacks":
        del tiny["ingest"]["sources"]["words"]
    else:
        (tmp_path / "raw/pairs.tsv").write_text("left\tright\tscore\na\tb\tfar too good\n")
    counts, unknown = count_examples(Params.parse(tiny), tmp_path)
    assert [count.name for count in counts] == ["tags"]
    assert len(unknown) == 1
    assert ("pairs.tsv" if fault == "unreadable file" else "words") in unknown[0]


@pytest.mark.parametrize("cap", [1, 10, 10**6])
def test_a_cap_cuts_as_assemble_cuts(cap, tiny, tmp_path):
    uncapped, _ = numbers_of(tiny, tmp_path)["tags"]
    tiny["assemble"]["caps"] = {"tags": cap}
    assert numbers_of(tiny, tmp_path)["tags"][0] == len(choose([f"q{number}" for number in range(uncapped)], cap, 1))
