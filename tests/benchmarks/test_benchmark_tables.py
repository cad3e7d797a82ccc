"""Where a benchmark lies and what is in it: the hub's cache or a folder, and errors that say what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mini_benchmarks import (
    MINI_SIZES,
    block_sockets,
    fill_hub_cache,
    keep_prepared_copies_in,
    mini_pairs,
    mini_retrieval,
    write_mini_benchmarks,
    write_pairs_folder,
    write_retrieval_folder,
)

from codiemb_pipeline.benchmarks.registry import BENCHMARKS
from codiemb_pipeline.benchmarks.tables import location_of, open_rows
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.locations import folder_digest


@pytest.fixture(autouse=True)
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    block_sockets(monkeypatch)
    return keep_prepared_copies_in(tmp_path / "prepared", monkeypatch)


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return write_mini_benchmarks(tmp_path / "hub", ["T2Retrieval", "STSB", "AFQMC", "QBQTC"])


def test_a_folder_holds_what_was_written(folders: dict[str, Path]):
    rows = open_rows(location_of("T2Retrieval", str(folders["T2Retrieval"])))
    queries, corpus, qrels = mini_retrieval(0)
    assert rows.size == MINI_SIZES["retrieval"]
    assert rows.scored_queries == queries[:-1]  # the last one has no judgement
    joined = [(document, f"{title} {text}".strip()) for document, title, text in corpus]
    assert list(rows.documents()) == joined
    assert {(q, d, score) for q, row in rows.qrels.items() for d, score in row.items()} == set(qrels)


def test_gold_is_in_zero_to_one_on_every_scale(folders: dict[str, Path]):
    for name, place in (("STSB", 12), ("AFQMC", 13), ("QBQTC", 14)):
        high = BENCHMARKS[name].score_range[1]
        rows = open_rows(location_of(name, str(folders[name])))
        assert rows.gold() == [score / high for *_, score in mini_pairs(place, high)]
        assert list(rows.texts()) == [pair[:2] for pair in mini_pairs(place, high)]


def test_jsonl_and_number_ids_and_no_title_read_the_same(tmp_path: Path):
    folder = tmp_path / "covid"
    for name, lines in {
        "corpus": ['{"_id": 1, "text": " the dog "}', '{"_id": 2, "text": "a cat"}'],
        "queries": ['{"_id": 7, "text": "dog"}'],
        "qrels": ['{"query-id": 7, "corpus-id": 1, "score": 1}'],
    }.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "dev.jsonl").write_text("\n".join(lines) + "\n")
    configs = "".join(
        f"- config_name: {config}\n  data_files:\n  - split: dev\n    path: {place}/dev.jsonl\n"
        for config, place in (("corpus", "corpus"), ("queries", "queries"), ("default", "qrels"))
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    rows = open_rows(location_of("CovidRetrieval", str(folder)))
    assert list(rows.documents()) == [("1", "the dog"), ("2", "a cat")]
    assert (rows.scored_queries, rows.qrels) == ([("7", "dog")], {"7": {"1": 1}})


def test_a_missing_folder_is_named_with_its_parameter(tmp_path: Path):
    with pytest.raises(InputError, match=r"evaluate\.benchmarks\.LCQMC\.path: expected an existing path.*nowhere"):
        location_of("LCQMC", str(tmp_path / "nowhere"))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"evaluate\.benchmarks\.LCQMC\.path: expected a folder"):
        location_of("LCQMC", str(tmp_path / "file"))


def test_without_a_network_the_message_says_how_to_point_at_a_folder():
    with pytest.raises(InputError) as caught:
        open_rows(location_of("DuRetrieval", None))
    message = str(caught.value)
    parts = [
        "benchmark DuRetrieval",
        "mteb/DuRetrieval",
        BENCHMARKS["DuRetrieval"].revision,
        "HF_HUB_OFFLINE is set",
        "set evaluate.benchmarks.DuRetrieval.path in params.yaml to a folder",
        "corpus (_id, title, text)",
    ]
    assert [part for part in parts if part not in message] == []


@pytest.mark.parametrize("name", ["LCQMC", "T2Retrieval"])
def test_what_the_hub_s_cache_holds_is_read_without_a_network(name: str, prepared: Path, tmp_path: Path):
    folder = write_mini_benchmarks(tmp_path / "hub", [name])[name]
    fill_hub_cache(prepared, name, folder, BENCHMARKS[name].revision)
    place = location_of(name, None)
    assert place.revision == BENCHMARKS[name].revision
    assert open_rows(place).size == MINI_SIZES[BENCHMARKS[name].type]


def test_another_revision_in_the_hub_s_cache_is_refused(prepared: Path, tmp_path: Path):
    """Without a network ``datasets`` takes the latest it has, whatever revision was asked for."""
    folder = write_mini_benchmarks(tmp_path / "hub", ["LCQMC"])["LCQMC"]
    fill_hub_cache(prepared, "LCQMC", folder, "0" * 40)
    with pytest.raises(InputError, match=r"LCQMC.*the cache holds another revision.*0000000"):
        open_rows(location_of("LCQMC", None))


def test_a_folder_named_as_on_the_hub_is_not_taken_for_it(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path / "hub")
    with pytest.raises(InputError, match=r"evaluate\.benchmarks\.STSB\.path: .*mteb/STSB would be read instead"):
        location_of("STSB", None)
    assert location_of("STSB", "mteb/STSB").folder == folders["STSB"]


def test_another_benchmark_s_folder_is_refused(folders: dict[str, Path]):
    with pytest.raises(InputError, match=r"T2Retrieval: expected a README.*found configs default"):
        open_rows(location_of("T2Retrieval", str(folders["STSB"])))
    with pytest.raises(InputError, match=r"LCQMC: expected columns.*the data set has splits validation"):
        open_rows(location_of("LCQMC", str(folders["AFQMC"])))


def test_a_single_split_of_another_name_is_not_scored(tmp_path: Path):
    """mteb would: it takes whatever single split of judgements it finds."""
    import dataclasses

    other = dataclasses.replace(BENCHMARKS["DuRetrieval"], split="train")
    write_retrieval_folder(tmp_path / "du", other, *mini_retrieval(2))
    with pytest.raises(InputError, match=r"DuRetrieval: .*default has splits train"):
        open_rows(location_of("DuRetrieval", str(tmp_path / "du")))


def test_a_missing_column_is_named(tmp_path: Path):
    (tmp_path / "bq").mkdir()
    (tmp_path / "bq" / "test.jsonl").write_text('{"sentence1": "a", "sentence2": "b", "label": 1}\n')
    with pytest.raises(InputError, match=r"BQ: .*lacks score; found columns sentence1, sentence2, label"):
        open_rows(location_of("BQ", str(tmp_path / "bq")))


def test_a_file_that_is_none_is_named_with_the_reason(folders: dict[str, Path]):
    (folders["STSB"] / "data" / "test-00000-of-00001.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match=r"STSB: .*Parquet magic bytes not found"):
        open_rows(location_of("STSB", str(folders["STSB"])))


def test_without_a_judged_query_there_is_nothing_to_score(tmp_path: Path):
    queries, corpus, _ = mini_retrieval(2)
    write_retrieval_folder(tmp_path / "du", BENCHMARKS["DuRetrieval"], queries, corpus, [("q99", "d1", 1)])
    with pytest.raises(InputError, match=r"DuRetrieval: .*'queries': 0, 'documents': 40"):
        open_rows(location_of("DuRetrieval", str(tmp_path / "du")))


def test_a_score_off_the_scale_and_a_missing_text_are_refused(tmp_path: Path):
    """The public test set of AFQMC has -1 for every label."""
    write_pairs_folder(tmp_path / "bq", BENCHMARKS["BQ"], {"test": [("a", "b", 1), ("c", "d", -1)]})
    with pytest.raises(InputError, match=r"BQ: .*row 2: score: expected 0 to 1, found -1"):
        open_rows(location_of("BQ", str(tmp_path / "bq")))
    write_pairs_folder(tmp_path / "pawsx", BENCHMARKS["PAWSX"], {"test": [("a", None, 1), ("c", "d", 0)]})
    with pytest.raises(InputError, match=r"PAWSX: .*no sentence2 in 1 of 2 rows"):
        open_rows(location_of("PAWSX", str(tmp_path / "pawsx")))


def test_judged_documents_that_are_not_in_the_corpus_are_counted_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    queries, corpus, qrels = mini_retrieval(2)
    write_retrieval_folder(tmp_path / "du", BENCHMARKS["DuRetrieval"], queries, corpus[1:], qrels)
    open_rows(location_of("DuRetrieval", str(tmp_path / "du")))
    assert [record.args[1:] for record in caplog.records if "documents of its qrels" in record.msg] == [(1, "d0")]


def test_the_revision_of_a_folder_is_that_of_its_files_wherever_it_lies(folders: dict[str, Path], tmp_path: Path):
    here = location_of("STSB", str(folders["STSB"])).revision
    assert here.startswith("local-")
    copy = shutil.copytree(folders["STSB"], tmp_path / "copy")
    (copy / ".cache").mkdir()
    (copy / ".cache" / "lock").touch()
    assert location_of("STSB", str(copy)).revision == here
    before = folder_digest(copy)
    with (copy / "README.md").open("a") as card:
        card.write(" ")
    assert folder_digest(copy) != before
