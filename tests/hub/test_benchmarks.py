"""Benchmarks of the hub: fetched at the pinned revision, read like a folder, and later not needed."""

import shutil
from pathlib import Path

import pytest
from evaluate_params import evaluate_params
from hub_server import Hub
from mini_benchmarks import MINI_SIZES, keep_prepared_copies_in, write_mini_benchmarks

from codiemb_pipeline.benchmarks.data import location_of, open_rows
from codiemb_pipeline.benchmarks.registry import BENCHMARKS
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.evaluate.run import evaluate_models
from codiemb_pipeline.jsonl import read_json

NAMES = ("LCQMC", "T2Retrieval")


@pytest.fixture(autouse=True)
def served(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    keep_prepared_copies_in(tmp_path / "prepared", monkeypatch)
    for name, folder in write_mini_benchmarks(tmp_path / "benchmarks", NAMES).items():
        hub.serve("dataset", BENCHMARKS[name].hub_id, folder, [BENCHMARKS[name].revision])
    return hub


@pytest.mark.parametrize("name", NAMES)
def test_what_the_hub_has_at_the_revision_is_read(name, served):
    place = location_of(name, None)
    assert place.revision == BENCHMARKS[name].revision
    assert served.requests == [], "the revision is known without the data"
    assert open_rows(place).size == MINI_SIZES[BENCHMARKS[name].type]


def test_a_folder_named_as_on_the_hub_is_not_taken_for_it(tmp_path, monkeypatch):
    other = tmp_path / "elsewhere" / BENCHMARKS["LCQMC"].hub_id
    shutil.copytree(tmp_path / "benchmarks" / BENCHMARKS["LCQMC"].hub_id, other)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert not location_of("LCQMC", None).place.is_relative_to(other)
    assert location_of("LCQMC", BENCHMARKS["LCQMC"].hub_id).place == other


def test_data_of_another_layout_is_named_with_what_was_expected(served):
    served.serve("dataset", BENCHMARKS["LCQMC"].hub_id, {"README.md": b"---\nconfigs: [\n---\n"})
    with pytest.raises(InputError, match=r"evaluate\.benchmarks\.LCQMC\.path: .*expected columns sentence1"):
        open_rows(location_of("LCQMC", None))


def test_results_name_the_revision_and_once_there_need_no_data(
    tmp_path, tiny_encoder_params, tiny_encoder_folder, served, monkeypatch
):
    entries = {name: {"type": "mteb", "path": None} for name in NAMES}
    settings = evaluate_params(entries, geometry={"seed": 1, "texts": 20})

    def evaluate(out: str) -> Path:
        models = {"base": tiny_encoder_folder}
        evaluate_models(settings, tiny_encoder_params, models, tmp_path / "none", tmp_path / "cache", tmp_path / out)
        return tmp_path / out

    once = evaluate("once")
    for name in NAMES:
        assert read_json(once / "results/base" / f"{name}.json")["data_revision"] == BENCHMARKS[name].revision
        assert read_json(once / "mteb/base" / f"{name}.json")["dataset_revision"] == BENCHMARKS[name].revision
    for folder in ("hub-home", "prepared"):
        shutil.rmtree(tmp_path / folder)
    served.mend()
    again = evaluate("again")
    assert served.requests == []
    for file in once.rglob("*.json"):
        assert file.read_bytes() == (again / file.relative_to(once)).read_bytes()
