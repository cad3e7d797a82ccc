"""A bundle of everything a run reads from outside: what it holds, what it serves, and what it refuses."""

import copy
import re
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hub_server import Hub
from local_github import commit_all, use_local_github
from mini_benchmarks import write_mini_benchmarks
from tiny_run import tiny_params, write_sources

from codiemb_pipeline.benchmarks.registry import BENCHMARKS
from codiemb_pipeline.bundle.__main__ import gather, licence_of
from codiemb_pipeline.bundle.use import Manifest, with_bundle
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.hub import Repository
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES
from codiemb_pipeline.ingest.sources import locate
from codiemb_pipeline.params.ingest import IngestParams

SNAPSHOTS = {
    "C-MTEB/AFQMC": ["data/train-00000-of-00001.parquet"],
    "unicamp-dl/mmarco": [
        "data/google/collections/chinese_collection.tsv",
        "data/google/queries/train/chinese_queries.train.tsv",
    ],
    "hotchpotch/mmarco-hard-negatives-reranker-score": ["chinese_bge-reranker-v2-m3/train-00000-of-00001.parquet"],
}


@pytest.fixture(scope="module")
def values(tmp_path_factory, tiny_encoder_folder) -> dict[str, Any]:
    """Parameters of a small run that is judged on all 15, as if from the hub."""
    values = tiny_params(write_sources(tmp_path_factory.mktemp("raw")), tiny_encoder_folder)
    values["evaluate"]["benchmarks"] |= {name: {"type": "mteb", "path": None} for name in BENCHMARKS}
    return values


@pytest.fixture(scope="module")
def made(values, tmp_path_factory) -> Path:
    """A bundle whose benchmarks were downloaded."""
    root = tmp_path_factory.mktemp("made")
    with Hub() as hub, pytest.MonkeyPatch.context() as patch:
        hub.use_in(root / "hub-home", patch)
        for name, folder in write_mini_benchmarks(root / "benchmarks").items():
            hub.serve("dataset", BENCHMARKS[name].hub_id, folder, [BENCHMARKS[name].revision])
        gather(values, "test", root / "bundle")
    return root / "bundle"


@pytest.fixture
def bundle(made: Path, tmp_path) -> Path:
    """A copy of the bundle, to be changed."""
    return shutil.copytree(made, tmp_path / "bundle")


def test_every_path_of_a_bundled_run_lies_in_the_bundle(values, bundle):
    used = with_bundle({**values, "bundle": str(bundle)})
    benchmarks = {name: entry for name, entry in used["evaluate"]["benchmarks"].items() if entry["type"] == "mteb"}
    sections = [used["encoder"], *used["ingest"]["sources"].values(), *benchmarks.values()]
    assert len(sections) == 1 + 2 + 15
    paths = [Path(section["path"]) for section in sections]
    assert all(path.is_relative_to(bundle) and path.exists() for path in paths)
    assert {name: entry["revision"] for name, entry in benchmarks.items()} == {
        name: spec.revision for name, spec in BENCHMARKS.items()
    }


@pytest.fixture
def fetched_sources(tmp_path, monkeypatch) -> dict[str, Any]:
    """Sources of one hub id, of two and of GitHub, in miniature; asked for at a branch, a commit and the registry's."""
    use_local_github(tmp_path / "github", tmp_path / "cache", monkeypatch)
    hub = {name: tmp_path / "snapshots" / (str(number) * 40) for number, name in enumerate(SNAPSHOTS)}
    for folder, files in zip(hub.values(), SNAPSHOTS.values(), strict=True):
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(file)
    repository = tmp_path / "github/CLUEbenchmark/QBQTC"
    for file in ("train", "dev"):
        (repository / "dataset").mkdir(parents=True, exist_ok=True)
        (repository / f"dataset/{file}.json").write_text(file)
    monkeypatch.setattr(Repository, "fetch", lambda self, **_: hub[self.hub_id])
    return {
        "afqmc": {"registered": "afqmc", "path": None, "splits": None, "revision": "main"},
        "mmarco_zh": {"registered": "mmarco_zh", "path": None, "splits": None},
        "qbqtc": {"registered": "qbqtc", "path": None, "splits": None, "revision": commit_all(repository)},
    }


def only(values: dict[str, Any], sources: dict[str, Any]) -> dict[str, Any]:
    """Return parameters that read these sources alone."""
    values = copy.deepcopy(values)
    values["ingest"]["sources"] = sources
    values["evaluate"]["benchmarks"] = {"Own": {"type": "sts", "source": "afqmc", "split": "train"}}
    values["assemble"] |= {"train_sources": [*sources], "dev_sources": ["afqmc"]}
    values["train"]["sampler"]["steps_per_task"] = None
    return values


def test_fetched_sources_are_bundled_whole_and_read_at_their_commits(values, fetched_sources, tmp_path, monkeypatch):
    values = only(values, fetched_sources)
    gather(values, "test", tmp_path / "bundle")
    monkeypatch.setattr(Repository, "fetch", Mock(side_effect=AssertionError("the hub was asked")))
    used = with_bundle({**values, "bundle": str(tmp_path / "bundle")})["ingest"]
    texts, scores = (origin.id for origin in TRAINING_SOURCES["mmarco_zh"].origins)
    commits = {
        "afqmc": {"C-MTEB/AFQMC": "0" * 40},
        "mmarco_zh": {texts: "1" * 40, scores: "2" * 40},
        "qbqtc": {"CLUEbenchmark/QBQTC": fetched_sources["qbqtc"]["revision"]},
    }
    assert {name: source["revision"] for name, source in used["sources"].items()} == commits
    bundled = {}
    for name, source in IngestParams.parse(used, "ingest").sources.items():
        found = locate(name, source)
        bundled[name] = {file.relative_to(found.path).as_posix() for file in found.path.rglob("*") if file.is_file()}
        assert [origin.revision for origin in found.origins] == list(commits[name].values())
    assert bundled == {
        "afqmc": set(SNAPSHOTS["C-MTEB/AFQMC"]),
        "mmarco_zh": {*SNAPSHOTS[texts], *SNAPSHOTS[scores]},
        "qbqtc": {"dataset/train.json", "dataset/dev.json"},
    }
    licences = [origin.licence for entry in Manifest.read(tmp_path / "bundle").entries[1:] for origin in entry.origins]
    assert licences == [origin.licence for name in fetched_sources for origin in TRAINING_SOURCES[name].origins]


def test_a_bundle_of_another_revision_is_refused(values, fetched_sources, tmp_path):
    sources = {"afqmc": fetched_sources["afqmc"]}
    values = only(values, sources)
    gather(values, "test", tmp_path / "bundle")
    values["ingest"]["sources"] = {"afqmc": sources["afqmc"] | {"revision": None}}
    with pytest.raises(InputError, match="source 'afqmc' of "):
        with_bundle({**values, "bundle": str(tmp_path / "bundle")})


def test_files_that_are_gone_cut_changed_or_new_are_named(values, bundle):
    gone, cut, new = bundle / "encoder/config.json", bundle / "sources/words/pairs.tsv", bundle / "encoder/more.txt"
    changed = next((bundle / "benchmarks/BQ").rglob("*.parquet"))
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(bytes(content))
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    new.write_text("x")
    with pytest.raises(InputError) as caught:
        with_bundle({**values, "bundle": str(bundle)})
    lines = str(caught.value).splitlines()
    assert [sum(str(file) in line for line in lines) for file in (gone, cut, new, changed)] == [1, 1, 1, 1]


def test_files_found_whole_are_not_read_again_until_they_change(values, bundle, tmp_path, monkeypatch):
    with_bundle({**values, "bundle": str(bundle)}, tmp_path)
    read = []
    monkeypatch.setattr("codiemb_pipeline.locations.file_sha256", lambda path: read.append(path) or "")
    with_bundle({**values, "bundle": str(bundle)}, tmp_path)
    assert read == []
    touched = bundle / "sources/words/pairs.tsv"
    touched.write_bytes(touched.read_bytes())
    with pytest.raises(InputError):
        with_bundle({**values, "bundle": str(bundle)}, tmp_path)
    assert read == [touched]


def test_a_bundle_serves_only_what_it_was_made_for(values, bundle, tmp_path):
    given = {**values, "bundle": str(bundle)}
    sources = {**values["ingest"]["sources"], "wrods": values["ingest"]["sources"]["words"]}
    for other, named in (
        ({"encoder": {**values["encoder"], "path": "BAAI/bge-large-zh-v1.5"}}, "BAAI/bge-large-zh-v1.5"),
        ({"ingest": {**values["ingest"], "sources": sources}}, "'words'"),
        ({"bundle": str(tmp_path)}, str(tmp_path / "manifest.json")),
    ):
        with pytest.raises(InputError, match=re.escape(named)):
            with_bundle({**given, **other})


def test_a_manifest_of_another_format_is_refused(bundle):
    file = bundle / "manifest.json"
    file.write_text(file.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(InputError, match=re.escape(f"{file}")) as caught:
        Manifest.read(bundle)
    assert "format" in str(caught.value)


def test_resources_that_are_not_available_are_all_named_and_nothing_is_left_behind(values, hub, tmp_path):
    with pytest.raises(InputError) as caught:
        gather(values, "test", tmp_path / "bundle")
    assert all(spec.hub_id in str(caught.value) for spec in BENCHMARKS.values())
    assert not list(tmp_path.glob("*bundle*"))


def test_an_existing_folder_is_not_written_over(values, bundle):
    before = (bundle / "manifest.json").read_bytes()
    with pytest.raises(InputError, match=re.escape(str(bundle))):
        gather(values, "test", bundle)
    assert (bundle / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("given", [{}, {"bundle": None}])
def test_parameters_without_a_bundle_stay_as_they_are(values, given):
    assert with_bundle({**values, **given}) == {**values, **given}


def test_the_licence_is_the_one_the_card_states(tmp_path):
    assert licence_of(tmp_path) is None
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\ntext")
    assert licence_of(tmp_path) == "apache-2.0"
    (tmp_path / "README.md").write_text("---\nlicense: [mit, cc-by-4.0]\n---\n")
    assert licence_of(tmp_path) == "mit, cc-by-4.0"
