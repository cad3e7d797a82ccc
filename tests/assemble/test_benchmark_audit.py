"""The audit within the stage: benchmarks of params.yaml, files on disk, the manifest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from audit_texts import AUDIT
from evaluate_params import evaluate_params
from tiny_tables import table

from codiemb_pipeline.artifacts.assemble import TrainingArrays
from codiemb_pipeline.artifacts.ingest import PairTables, RetrievalTables, read_pairs, read_retrieval
from codiemb_pipeline.assemble import contamination
from codiemb_pipeline.assemble.contamination import open_audit
from codiemb_pipeline.assemble.run import assemble
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json

BENCHMARKS = {
    "Animals": {"type": "retrieval", "source": "animals", "split": "test"},
    "Words": {"type": "sts", "source": "words", "split": "test"},
}
LEAKED = ["the pair that was leaked", "and its other side"]


def benchmarks(entries: dict[str, Any] = BENCHMARKS):
    return evaluate_params(entries).benchmarks


@pytest.fixture
def leaky(sources: Path) -> Path:
    """Of the test split a query is also a training query, and a pair a training pair, turned round."""
    tables = read_retrieval(sources, "animals")
    queries = pd.concat([tables.queries, table("queries", [("q9", "DOG!", "test")])])
    qrels = pd.concat([tables.qrels, table("qrels", [("q9", "d0", 1)])])
    RetrievalTables(queries, tables.corpus, qrels, tables.negatives).write(sources / "animals")
    rows = [("p10", *LEAKED, 0.5, "train"), ("p11", *(f"{side}?" for side in LEAKED[::-1]), 0.5, "test")]
    PairTables(pd.concat([read_pairs(sources, "words").pairs, table("pairs", rows)])).write(sources / "words")
    return sources


@pytest.fixture
def run(make_params, tiny_encoder_params, leaky, hard_negatives, tmp_path) -> Callable[..., Path]:
    def run(name: str = "out", **changes: Any) -> Path:
        params = make_params(audit={**AUDIT, **changes})
        audit = open_audit(params.audit, benchmarks(), leaky)
        assemble(params, tiny_encoder_params, leaky, hard_negatives, tmp_path / name, audit)
        audit.report().write(tmp_path / name / "contamination.json")
        return tmp_path / name

    return run


def test_benchmarks_made_of_a_source_are_audited(run):
    """Judged in the test split: d0, which q9 and the training query q0 share, and d5, a mined negative, by design."""
    report = read_json(run() / "contamination.json")
    assert report["benchmarks"] == {"Animals": {"query": 2, "document": 2}, "Words": {"pair": 1}}
    assert report["sources"] == {"animals": 3, "words": 5}
    found = {
        (row["source"], row["benchmark"], row["training"], row["text"], row["shared"]): row["exact"]
        for row in report["findings"]
    }
    assert found == {
        ("animals", "Animals", "query", "query", False): 1,
        ("animals", "Animals", "positive", "document", True): 1,
        ("animals", "Animals", "negative", "document", True): 1,
        ("words", "Words", "sentence", "sentence", False): 2,
        ("words", "Words", "pair", "pair", False): 1,
    }


def test_drop_takes_the_examples_out_of_all_files_and_the_manifest_says_so(run):
    plain, cleaned = run("plain"), run("cleaned", mode="drop")
    assert [len(TrainingArrays(out / "train")) for out in (plain, cleaned)] == [8, 6]
    entries = read_json(cleaned / "manifest.json")["train"]
    assert entries["animals"]["examples"] == 2
    assert entries["animals"]["dropped"]["examples_in_benchmarks"] == 1
    assert entries["animals"]["dropped"]["negatives_in_benchmarks"] == 0
    assert (entries["words"]["examples"], entries["words"]["dropped"]["examples_in_benchmarks"]) == (4, 1)
    assert "examples_in_benchmarks" not in read_json(plain / "manifest.json")["train"]["words"]["dropped"]
    removed = read_json(cleaned / "contamination.json")["removed"]
    assert removed == {"animals": {"Animals": {"examples": 1}}, "words": {"Words": {"examples": 1}}}


def test_report_changes_nothing_but_its_own_file(
    run, make_params, tiny_encoder_params, leaky, hard_negatives, tmp_path
):
    audited, plain = run("audited"), tmp_path / "plain"
    assemble(make_params(), tiny_encoder_params, leaky, hard_negatives, plain)
    files = [path.relative_to(plain) for path in plain.rglob("*") if path.is_file()]
    assert files
    assert all((plain / name).read_bytes() == (audited / name).read_bytes() for name in files)


def test_two_audits_write_the_same_bytes(run):
    first, second = (run(name) / "contamination.json" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_fail_stops_the_stage(run):
    with pytest.raises(InputError, match=r"words: pair in Words, pair: 1 equal, 0 nearly equal"):
        run(mode="fail")


def test_a_source_of_which_nothing_is_left_is_named(run, leaky):
    pairs = read_pairs(leaky, "words").pairs
    PairTables(pairs[pairs["pair_id"].isin(["p10", "p11"])].reset_index(drop=True)).write(leaky / "words")
    with pytest.raises(InputError, match=r"source 'words': all its training examples stand in benchmarks"):
        run(mode="drop")


def test_off_reads_no_benchmark(leaky, make_params, tmp_path, monkeypatch):
    monkeypatch.setattr(contamination, "TextIndex", None)
    nowhere = benchmarks({"LCQMC": {"type": "mteb", "path": str(tmp_path / "nowhere")}})
    assert open_audit(make_params(audit={**AUDIT, "mode": "off"}).audit, nowhere, leaky) is None


def test_a_benchmark_that_cannot_be_read_is_named(leaky, make_params, tmp_path):
    nowhere = benchmarks({"LCQMC": {"type": "mteb", "path": str(tmp_path / "nowhere")}})
    with pytest.raises(InputError, match="LCQMC"):
        open_audit(make_params().audit, nowhere, leaky)
