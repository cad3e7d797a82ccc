"""Where registered sources come from: the hub at a pinned revision, or a message that says what to do instead."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from source_files import counts, ingest, pairs_source, registered_source, write_cmteb

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES, Pairs
from codiemb_pipeline.ingest.run import ingest_sources
from codiemb_pipeline.params.ingest import IngestParams, RegisteredName

UNCONFIRMED = ["t2ranking", "dureader", "mmarco_zh", "bq", "pawsx", "stsb", "cmnli", "ocnli"]
ON_GITHUB = ["cmedqa2", "multi_cpr_ecom", "multi_cpr_medical", "multi_cpr_video", "qbqtc"]
ON_THE_HUB = ["lcqmc", "afqmc", "atec"]


def message_of(tmp_path: Path, name: str, path: Path | None = None, **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        ingest(tmp_path / "out", registered_source(name, path, **changes))
    return str(caught.value)


def test_params_and_registry_name_the_same_sources():
    assert list(get_args(RegisteredName)) == list(TRAINING_SOURCES)
    assert sorted(UNCONFIRMED + ON_GITHUB + ON_THE_HUB) == sorted(TRAINING_SOURCES)


def test_every_source_is_declared_whole():
    for name, declared in TRAINING_SOURCES.items():
        assert (declared.hub_id is None) != (declared.github is None), name
        assert declared.instruction, name
        assert declared.note, name
        assert declared.fetch, name
        if declared.confirmed:
            assert re.fullmatch(r"[0-9a-f]{40}", declared.revision), name
        if isinstance(declared.layout, Pairs):
            low, high = declared.layout.score_range
            assert low < high, name


@pytest.mark.parametrize("name", UNCONFIRMED)
def test_an_unconfirmed_source_is_not_fetched_and_says_how_to_give_a_file(tmp_path, name, hub):
    message = message_of(tmp_path, name)
    assert message.startswith(f"params.yaml: ingest.sources.mine.path: {name!r} ({TRAINING_SOURCES[name].hub_id}")
    assert "is not confirmed, so null fetches nothing" in message
    assert TRAINING_SOURCES[name].note in message
    assert "put its files into a folder and set path to it: " in message
    assert hub.requests == []


@pytest.mark.parametrize("name", ON_GITHUB)
def test_a_source_on_github_says_which_commit_to_clone(tmp_path, name, hub):
    declared = TRAINING_SOURCES[name]
    message = message_of(tmp_path, name)
    assert f"git clone https://github.com/{declared.github} and check out {declared.revision}" in message
    assert hub.requests == []


@pytest.mark.parametrize("name", ON_THE_HUB)
def test_a_confirmed_source_is_fetched_at_its_revision(tmp_path, name, hub):
    declared = TRAINING_SOURCES[name]
    assert f"ingest.sources.mine.path: dataset {declared.hub_id} at {declared.revision}" in message_of(tmp_path, name)
    snapshot = write_cmteb(tmp_path / "snapshot", [("a", "b", 1), ("c", "d", 0)])
    hub.serve("dataset", declared.hub_id, snapshot, [declared.revision])
    out = ingest(tmp_path / "out", registered_source(name, None))
    assert counts(out)["splits"] == {"train": 2, "dev": 0, "test": 0}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "sts"),
        ("reader", "pairs"),
        ("score_range", [0, 1]),
        ("columns", {"text_a": "a", "text_b": "b", "score": "c"}),
    ],
)
def test_what_the_registry_knows_may_not_be_said_again(tmp_path, field, value):
    message = message_of(tmp_path, "lcqmc", tmp_path, **{field: value})
    assert message.startswith(f"params.yaml: ingest.sources.mine: {field}: the registry describes 'lcqmc'")


@pytest.mark.parametrize(("field", "value"), [("documents_per_query", [1, 2]), ("named_negatives", 3)])
def test_a_parameter_of_retrieval_does_not_fit_pairs(tmp_path, field, value):
    assert f"ingest.sources.mine: {field} is for task 'ir'" in message_of(tmp_path, "lcqmc", tmp_path, **{field: value})
    with pytest.raises(InputError, match=rf"ingest\.sources\.mine\.{field}: unknown parameter"):
        ingest(tmp_path / "out", pairs_source(tmp_path / "x.csv", **{field: value}))


def test_contradictions_of_a_later_source_show_before_the_first_is_read(tmp_path):
    sources = {
        "first": pairs_source(tmp_path / "nowhere.csv"),
        "second": registered_source("lcqmc", tmp_path, named_negatives=1),
    }
    values = {"seed": 1, "tolerance": 0, "sources": sources}
    with pytest.raises(InputError, match=r"sources\.second: named_negatives"):
        ingest_sources(IngestParams.parse(values, "ingest"), tmp_path)


def test_an_unknown_name_is_an_error_of_the_params(tmp_path):
    message = message_of(tmp_path, "t2rank")
    assert message.startswith("params.yaml: ingest.sources.mine.registered: input should be 't2ranking', ")


def test_a_source_that_is_not_registered_needs_a_path(tmp_path):
    with pytest.raises(InputError, match=r"sources\.mine\.path: "):
        ingest(tmp_path / "out", pairs_source(tmp_path) | {"path": None})


@pytest.mark.parametrize("limit", [0, -1, 1.5, "10"])
def test_a_limit_is_a_whole_number_from_1(tmp_path, limit):
    assert "ingest.sources.mine.limit: " in message_of(tmp_path, "lcqmc", tmp_path, limit=limit)


@pytest.mark.parametrize("name", list(TRAINING_SOURCES))
def test_params_and_registry_agree_on_the_task(name):
    values = {"seed": 1, "tolerance": 0, "sources": {"mine": registered_source(name, Path("x"))}}
    assert IngestParams.parse(values, "ingest").sources["mine"].task == TRAINING_SOURCES[name].task
