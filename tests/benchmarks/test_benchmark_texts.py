"""The texts a training text must not be, of all three kinds of benchmarks."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pandas as pd
import pytest
from mini_benchmarks import (
    keep_prepared_copies_in,
    mini_pairs,
    mini_retrieval,
    write_mini_benchmarks,
    write_retrieval_folder,
)

from codiemb_pipeline.artifacts.ingest import PairTables, RetrievalTables
from codiemb_pipeline.benchmarks.registry import BENCHMARKS
from codiemb_pipeline.benchmarks.texts import BenchmarkText, benchmark_texts
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.evaluate import LocalRetrieval, LocalSTS, MtebBenchmark


@pytest.fixture(autouse=True)
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_prepared_copies_in(tmp_path / "prepared", monkeypatch)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    queries = pd.DataFrame(
        [("q1", "dog", "test"), ("q2", "river", "test"), ("q3", "paper", "train")],
        columns=["query_id", "text", "split"],
    )
    corpus = pd.DataFrame([("d1", "the", "dog"), ("d2", "", "a cat"), ("d3", "", "old paper")],
                          columns=["doc_id", "title", "text"])  # fmt: skip
    qrels = pd.DataFrame([("q1", "d1", 1), ("q3", "d3", 2)], columns=["query_id", "doc_id", "relevance"])
    none = pd.DataFrame({"query_id": [], "doc_id": []}, dtype=str)
    RetrievalTables(queries, corpus, qrels, none).write(tmp_path / "sources" / "tags")
    for name, rows in {
        "words": [("p1", "dog", "cat", 0.7, "test"), ("p2", "old", "new", 0.2, "test"), ("p3", "a", "b", 1.0, "dev")],
        "seen": [("s1", "NEW", "old", 0.2, "train")],
    }.items():
        table = pd.DataFrame(rows, columns=["pair_id", "text_a", "text_b", "gold", "split"])
        PairTables(table).write(tmp_path / "sources" / name)
    return tmp_path / "sources"


def test_of_mteb_s_retrieval_judged_queries_and_relevant_documents(tmp_path: Path):
    queries, corpus, qrels = mini_retrieval(1)
    qrels = [*qrels, ("q0", "d30", 0)]  # judged not relevant
    write_retrieval_folder(tmp_path / "mmarco", BENCHMARKS["MMarcoRetrieval"], queries, corpus, qrels)
    entry = MtebBenchmark(type="mteb", path=str(tmp_path / "mmarco"))
    found = list(benchmark_texts("MMarcoRetrieval", entry, Path("nowhere")))
    relevant = {document for _, document, score in qrels if score}
    expected = [BenchmarkText("query", query, (text,)) for query, text in queries[:-1]]
    expected += [
        BenchmarkText("document", document, (f"{title} {text}".strip(),))
        for document, title, text in corpus
        if document in relevant
    ]
    assert found == expected
    assert len(found) == 12 + 18


def test_of_mteb_s_similarity_every_pair_of_the_scored_split(tmp_path: Path):
    folder = write_mini_benchmarks(tmp_path, ["ATEC"])["ATEC"]
    found = list(benchmark_texts("ATEC", MtebBenchmark(type="mteb", path=str(folder)), Path("nowhere")))
    assert [text.texts for text in found] == [pair[:2] for pair in mini_pairs(8, 1)]
    assert {text.kind for text in found} == {"pair"}
    assert [text.id for text in found][:3] == ["0", "1", "2"]


def test_of_a_retrieval_source_the_split_s_queries_and_their_documents(sources: Path):
    entry = LocalRetrieval(type="retrieval", source="tags", split="test")
    assert list(benchmark_texts("Tags", entry, sources)) == [
        BenchmarkText("query", "q1", ("dog",)),
        BenchmarkText("query", "q2", ("river",)),
        BenchmarkText("document", "d1", ("the dog",)),
    ]


def test_of_a_similarity_source_the_pairs_it_scores(sources: Path):
    entry = LocalSTS(type="sts", source="words", split="test", without_pairs_of=("seen",))
    assert list(benchmark_texts("Words", entry, sources)) == [BenchmarkText("pair", "p1", ("dog", "cat"))]


def test_a_missing_source_is_named(sources: Path):
    entry = LocalRetrieval(type="retrieval", source="words", split="test")
    with pytest.raises(InputError, match=r"evaluate\.benchmarks\.Tags.*'words'"):
        next(benchmark_texts("Tags", entry, sources))


def test_the_corpus_passes_through_and_is_not_held(tmp_path: Path):
    """20,000 documents of 1,000 letters are 20 MB; the peak of what Python holds is a twentieth."""
    corpus = [(f"d{number}", "", f"{number:06d} " + "a" * 993) for number in range(20_000)]
    qrels = [(f"q{number}", f"d{100 * number}", 1) for number in range(50)]
    write_retrieval_folder(
        tmp_path / "t2", BENCHMARKS["T2Retrieval"], [(f"q{n}", f"query {n}") for n in range(50)], corpus, qrels
    )
    del corpus
    entry = MtebBenchmark(type="mteb", path=str(tmp_path / "t2"))
    assert sum(1 for _ in benchmark_texts("T2Retrieval", entry, tmp_path)) == 100  # prepared now
    tracemalloc.start()
    try:
        assert sum(1 for _ in benchmark_texts("T2Retrieval", entry, tmp_path)) == 100
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6e6
