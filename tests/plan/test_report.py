"""`make plan`: its report of a small run, and of resources that are not available."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Any
from unittest.mock import Mock

import pytest
import yaml
from click.testing import CliRunner
from huggingface_hub import constants
from local_github import commit_all, use_local_github
from tiny_run import make_model_input, tiny_params, write_sources

from codiemb_pipeline.benchmarks.registry import BENCHMARKS
from codiemb_pipeline.encoder.registry import ENCODERS
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.hub import Repository
from codiemb_pipeline.ingest.github import fetch_files
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES
from codiemb_pipeline.params import Params
from codiemb_pipeline.plan import requirements
from codiemb_pipeline.plan.__main__ import main, report_lines
from codiemb_pipeline.plan.requirements import Resource, check_availability, required_resources
from codiemb_pipeline.profiles import profile_titles, read_profile

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path, tiny_encoder_folder, monkeypatch) -> dict[str, Any]:
    """Work in a project in which assemble has run; returns its parameters."""
    values = tiny_params(write_sources(tmp_path / "raw"), tiny_encoder_folder)
    for folder in ("made", "data/05_model_input"):
        (tmp_path / folder).mkdir(parents=True)
    make_model_input(values, tmp_path / "made").rename(tmp_path / "data/05_model_input/examples")
    monkeypatch.chdir(tmp_path)
    return values


def reported(values: dict[str, Any]) -> list[str]:
    """Return the lines of the command on these parameters; it fails where one is marked ``wrong``."""
    Path("params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    ended = CliRunner().invoke(main, standalone_mode=False)
    lines = ended.output.splitlines()
    assert isinstance(ended.exception, InputError if labelled(lines, "wrong") else NoneType)
    return lines


def labelled(lines: list[str], label: str) -> list[str]:
    """Return the texts of the lines with a label."""
    return [line.strip().removeprefix(label).strip() for line in lines if line.strip().startswith(f"{label} ")]


def test_steps_tokens_memory_and_disk_of_assembled_examples(project):
    lines = reported(project)
    assert labelled(lines, "steps") == ["6"]
    assert not any("at most" in text for label in ("tokens", "memory") for text in labelled(lines, label))
    assert re.match(r"\d+\.\d\d GiB a process", labelled(lines, "memory")[0])
    assert re.match(r"disk: \d+\.\d GiB for 4 checkpoints and 3 merged models", lines[lines.index("needed") - 1])
    assert not any(line.startswith("!") for line in lines)


def test_each_run_is_planned_with_its_own_settings(project):
    project["runs"] = {"main": {}, "long": {"max_steps": 9}}
    assert labelled(reported(project), "steps") == ["6", "9"]


def test_a_file_that_is_missing_is_marked_and_counted(project):
    project["ingest"]["sources"]["words"]["path"] = "raw/gone.tsv"
    lines = reported(project)
    assert [line.split()[:3] for line in lines if line.startswith("!")] == [["!", "source", "words"]]
    assert ["gone.tsv" in text for text in labelled(lines, "wrong")] == [True]
    assert lines[-1].startswith("1 of 3 ")


def test_a_source_that_cannot_be_read_or_is_too_small_for_a_batch_is_wrong(project):
    project["train"]["batch_size"] = {"ir": 400, "sts": 4}
    assert ["'tags'" in text and "batch" in text for text in labelled(reported(project), "wrong")] == [True]
    shutil.rmtree("data/05_model_input")
    project["ingest"]["sources"]["words"]["columns"]["score"] = "points"
    project["assemble"] |= {"train_sources": ["tags"], "dev_sources": ["tags"]}
    project["train"] |= {"batch_size": {"ir": 4, "sts": 4}}
    project["train"]["sampler"]["steps_per_task"] = None
    assert ["points" in text for text in labelled(reported(project), "wrong")] == [True], "a benchmark reads it"


@pytest.mark.parametrize(("gpus", "processor", "told"), [(False, False, 4), (False, True, 1), (True, False, 0)])
def test_what_this_machine_lacks_is_reported_and_ends_no_plan(project, monkeypatch, gpus, processor, told):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_f": True, "avx512_bf16": processor})
    for section in ("mine", "train", "evaluate"):
        project[section]["precision"] = "bf16"
    project["train"]["launch"] |= {"backend": "nccl", "nproc_per_node": 1}
    lines = labelled(reported(project), "here")
    assert len(lines) == told
    assert ["bf16" in line for line in lines] == [True] * (told - 1) + [False] * bool(told)


def test_before_assemble_has_run_numbers_are_marked_as_near_or_as_bounds(project):
    shutil.rmtree("data/05_model_input")
    lines = reported(project)
    assert re.fullmatch(r"tags +\d+ ir +counted now, as ingest does", labelled(lines, "examples")[0])
    assert labelled(lines, "steps") == ["6"], "max_steps is met whatever assemble removes"
    assert re.match(r"about \d+ steps", labelled(lines, "an epoch")[0])
    assert all(labelled(lines, label)[0].startswith("at most ") for label in ("tokens", "memory"))


def test_without_a_network_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(requirements, "HfApi", None)
    monkeypatch.setattr(requirements, "run_git", None)
    resources = [
        Resource(kind="benchmark", name="BQ", repository="C-MTEB/BQ", revision="0" * 40),
        Resource(kind="source", name="qbqtc", repository="CLUEbenchmark/QBQTC", host="github", revision="0" * 40),
    ]
    for check in check_availability(resources):
        assert not check.found
        assert "HF_HUB_OFFLINE" in check.where


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch):
    hub = Mock(
        repo_info=Mock(side_effect=[Mock(siblings=[], card_data=None), ValueError("no such id"), OSError("no route")])
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(requirements, "HfApi", lambda: hub)
    monkeypatch.setattr(Repository, "is_cached", lambda _: False)
    resources = [Resource(kind="source", name=f"s{number}", repository="a/b") for number in range(5)]
    checks = check_availability([*resources, Resource(kind="benchmark", name="local", path=".")])
    assert [check.found for check in checks] == [True, False, False, False, False, True]
    assert ["no route" in check.where for check in checks] == [False, False, True, True, True, False]
    assert [check.here for check in checks] == [False, False, False, False, False, True]
    assert hub.repo_info.call_count == 3


def test_files_of_the_hub_are_looked_for_in_its_cache_and_then_there(hub):
    source = Resource(kind="source", name="s", repository="a/b", revision="0" * 40, files=("data/*",))
    found = []
    for _ in range(3):
        (check,) = check_availability([source])
        found.append((check.found, check.here))
        if check.found:
            source.on_hub.fetch(field="f", by_hand="b")
        hub.serve("dataset", "a/b", {"data/x": b"x", "README.md": b"y"}, ["0" * 40])
    assert found == [(False, False), (True, False), (True, True)]


def test_the_hub_says_how_large_a_resource_is_and_under_which_licence(hub):
    files = {"model.safetensors": b"x" * 1000, "onnx/model.onnx": b"y", "README.md": b"---\nlicense: mit\n---\n"}
    hub.serve("model", "a/encoder", files, ["0" * 40])
    hub.serve("dataset", "a/data", {"b": b"yes", "README.md": b"without"}, ["0" * 40])
    place = {"revision": "0" * 40, "name": ""}
    encoder = Resource(kind="encoder", repository="a/encoder", **place)
    source = Resource(kind="source", repository="a/data", licence="theirs", size=10**9, files=("b",), **place)
    unknown = Resource(kind="benchmark", repository="a/data", **place)
    found = [check.resource for check in check_availability([encoder, source, unknown])]
    assert [one.size for one in found] == [1000 + len(files["README.md"]), 3, 10]
    assert [one.licence for one in found] == ["mit", "theirs", None]


def test_a_repository_on_github_is_asked_for_and_found_in_the_cache(tmp_path, monkeypatch):
    use_local_github(tmp_path / "github", tmp_path / "cache", monkeypatch)
    folder = tmp_path / "github/owner/name"
    folder.mkdir(parents=True)
    for file in ("one", "two"):
        (folder / file).write_text(file)
    origin = {"repository": "owner/name", "host": "github", "revision": commit_all(folder)}
    here = Resource(kind="source", name="s", files=("one", "two"), **origin)
    gone = replace(here, repository="owner/gone")
    at = f"github.com/owner/name@{origin['revision'][:8]}"
    assert [check.where for check in check_availability([here])] == [f"on GitHub: {at}"]
    fetch_files("owner/name", origin["revision"], ["one"])
    assert not check_availability([here])[0].here, "one of two files"
    fetch_files("owner/name", origin["revision"], ["one", "two"])
    checks = check_availability([here, gone])
    assert [(check.found, check.here) for check in checks] == [(True, True), (False, False)]
    assert checks[0].where == f"in the cache: {at}"
    assert "GitHub does not answer: git ls-remote: fatal: " in checks[1].where


@pytest.mark.parametrize("profile", ["bge-large-zh", "e5-large-instruct", "minicpm", "youtu"])
def test_what_is_fetched_is_listed_with_its_commit_size_and_licence(profile, tmp_path):
    """3.71 + 3.61 + 2.75 + 0.34 + 0.06 GB of retrieval, and 0.09 of similarity; 0.7 of benchmarks; the encoder."""
    values = read_profile(profile, ROOT)
    lines = list(report_lines(Params.parse(values), values, tmp_path))
    for name in values["ingest"]["sources"]:
        listed = [line for line in lines if line[2:].split()[:2] == ["source", name]]
        for line, origin in zip(listed, TRAINING_SOURCES[name].origins, strict=True):
            assert f"{origin.id}@{origin.revision[:8]}" in line
            assert re.search(r"; about \d+\.\d [GM]B; licence: ", line)
            assert line.endswith(f"licence: {origin.licence}")
    for name in BENCHMARKS:
        (line,) = (line for line in lines if line[2:].split()[:2] == ["benchmark", name])
        assert re.search(r"; about \d+\.\d MB; licence: ", line)
    encoder = ENCODERS[values["encoder"]["path"]]
    assert any(line.startswith("! encoder") and line.endswith(f"; licence: {encoder.licence}") for line in lines)
    assert f"to fetch: about {(10.55e9 + 0.71e9 + encoder.size) / 1e9:.1f} GB" in lines


def test_the_revision_of_the_params_is_the_one_that_is_listed(tmp_path):
    values = read_profile("bge-large-zh", ROOT)
    values["ingest"]["sources"]["afqmc"]["revision"] = "abcdef" * 6 + "abcd"
    assert any("C-MTEB/AFQMC@abcdefab" in line for line in report_lines(Params.parse(values), values, tmp_path))


@pytest.mark.parametrize("profile", profile_titles(ROOT))
def test_every_profile_is_planned_before_anything_was_read(profile, tmp_path):
    values = read_profile(profile, ROOT)
    params = Params.parse(values)
    lines = list(report_lines(params, values, tmp_path))
    needed = [line for line in lines[lines.index("needed") + 1 : -1] if not line.startswith("to fetch: ")]
    assert [line[2:].split()[:2] for line in needed] == [[r.kind, r.name] for r in required_resources(params)]
    assert "run main" in lines
    if profile != "custom":  # whose files are the user's to add
        assert labelled(lines, "steps")[0].startswith("about ")
        assert labelled(lines, "tokens")[0].startswith("at most ")
        assert any(line.startswith("disk: ") for line in lines)
        names = [line[13:].split()[0] for line in lines[1 : 1 + len(params.assemble.train_sources)]]
        assert names == list(params.assemble.train_sources)


def test_the_size_of_an_encoder_that_is_not_available_comes_from_a_folder_with_its_config(project, tiny_encoder_folder):
    project["encoder"] |= {"path": "someone/encoder", "revision": "0" * 40}
    lines = reported(project)
    assert ["someone/encoder" in text and "config.json" in text for text in labelled(lines, "unknown")] == [True]
    assert not labelled(lines, "memory")
    assert any(line.startswith("disk: unknown for 4 checkpoints") for line in lines)
    Path("size").mkdir()
    shutil.copy(tiny_encoder_folder / "config.json", "size")
    project["encoder"] |= {"path": "size", "revision": None}
    lines = reported(project)
    assert "GiB a process" in labelled(lines, "memory")[0]
    assert any(re.match(r"disk: \d+\.\d GiB for 4 checkpoints", line) for line in lines)
