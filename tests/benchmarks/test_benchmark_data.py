"""The data of benchmarks in a folder, useful errors, and the texts training must not repeat."""

import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from mini_benchmarks import (
    MINI_SIZES,
    block_sockets,
    keep_prepared_copies_in,
    mini_pairs,
    mini_retrieval,
    write_mini_benchmarks,
    write_pairs_folder,
    write_retrieval_folder,
)
from tiny_tables import pair_tables, retrieval_tables

from codiemb_pipeline.benchmarks.data import BenchmarkText, benchmark_texts, location_of, open_rows
from codiemb_pipeline.benchmarks.registry import BENCHMARKS
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.locations import folder_digest
from codiemb_pipeline.params.evaluate import LocalRetrieval, LocalSTS, MtebBenchmark


@pytest.fixture(autouse=True)
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    block_sockets(monkeypatch)
    return keep_prepared_copies_in(tmp_path / "prepared", monkeypatch)


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return write_mini_benchmarks(tmp_path / "hub", ["T2Retrieval", "STSB", "AFQMC", "QBQTC"])


def test_a_folder_holds_what_was_written(folders):
    rows = open_rows(location_of("T2Retrieval", str(folders["T2Retrieval"])))
    queries, corpus, qrels = mini_retrieval(0)
    assert rows.size == MINI_SIZES["retrieval"]
    assert rows.scored_queries == queries[:-1]  # the last one has no judgement
    assert list(rows.documents()) == [(document, f"{title} {text}".strip()) for document, title, text in corpus]
    assert {(q, d, score) for q, row in rows.qrels.items() for d, score in row.items()} == set(qrels)


def test_gold_is_in_zero_to_one_on_every_scale(folders):
    for name, place in (("STSB", 12), ("AFQMC", 13), ("QBQTC", 14)):
        high = BENCHMARKS[name].score_range[1]
        rows = open_rows(location_of(name, str(folders[name])))
        assert rows.gold() == [score / high for *_, score in mini_pairs(place, high)]
        assert list(rows.texts()) == [pair[:2] for pair in mini_pairs(place, high)]


def test_jsonl_and_number_ids_and_no_title_read_the_same(tmp_path):
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


def test_a_missing_folder_is_named_with_its_parameter(tmp_path):
    with pytest.raises(InputError, match=r"evaluate\.benchmarks\.LCQMC\.path: expected an existing path.*nowhere"):
        location_of("LCQMC", str(tmp_path / "nowhere"))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"evaluate\.benchmarks\.LCQMC\.path: expected a folder"):
        location_of("LCQMC", str(tmp_path / "file"))


def other_split(folder: Path) -> None:
    """Write qrels with one split of another name, which mteb would score."""
    write_retrieval_folder(folder, BENCHMARKS["DuRetrieval"].model_copy(update={"split": "train"}), *mini_retrieval(2))


def no_scored_query(folder: Path) -> None:
    queries, corpus, _ = mini_retrieval(2)
    write_retrieval_folder(folder, BENCHMARKS["DuRetrieval"], queries, corpus, [("q99", "d1", 1)])


def file(name: str, content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        folder.mkdir()
        (folder / name).write_bytes(content)

    return write


def pairs(second: tuple[str, str | None, int], split: str = "test") -> Callable[[Path], None]:
    return lambda folder: write_pairs_folder(folder, BENCHMARKS["BQ"], {split: [("a", "b", 1), second]})


@pytest.mark.parametrize(
    ("name", "write", "reason"),
    [
        ("T2Retrieval", pairs(("c", "d", 0)), "expected a README.*found configs default"),
        ("BQ", pairs(("c", "d", 0), "validation"), "expected columns.*the data set has splits validation"),
        ("DuRetrieval", other_split, "default has splits train"),
        ("DuRetrieval", no_scored_query, "'queries': 0, 'documents': 40"),
        ("BQ", file("test.jsonl", b'{"sentence1": "a", "sentence2": "b", "label": 1}'), "lacks score.*label"),
        ("BQ", file("test-00000-of-00001.parquet", b"no parquet"), "Parquet magic bytes not found"),
        ("BQ", pairs(("c", "d", -1)), "row 2: score: expected 0 to 1, found -1"),  # as in AFQMC's public test set
        ("BQ", pairs(("c", None, 0)), "no sentence2 in 1 of 2 rows"),
    ],
)
def test_unusable_data_is_named_with_the_reason(name, write, reason, tmp_path):
    write(tmp_path / "data")
    with pytest.raises(InputError, match=f"{name}: .*{reason}"):
        open_rows(location_of(name, str(tmp_path / "data")))


def test_documents_of_qrels_that_are_not_in_the_corpus_are_counted_and_logged(tmp_path, caplog):
    queries, corpus, qrels = mini_retrieval(2)
    write_retrieval_folder(tmp_path / "du", BENCHMARKS["DuRetrieval"], queries, corpus[1:], qrels)
    open_rows(location_of("DuRetrieval", str(tmp_path / "du")))
    assert [record.args[1:] for record in caplog.records if "documents of its qrels" in record.msg] == [(1, "d0")]


def test_the_revision_of_a_folder_is_that_of_its_files_wherever_it_lies(folders, tmp_path):
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


@pytest.fixture
def sources(tmp_path) -> Path:
    queries = [("q1", "dog", "test"), ("q2", "river", "test"), ("q3", "paper", "train")]
    corpus = [("d1", "the", "dog"), ("d2", "", "a cat"), ("d3", "", "old paper")]
    retrieval_tables(queries, corpus, [("q1", "d1", 1), ("q3", "d3", 2)]).write(tmp_path / "sources" / "tags")
    words = [("p1", "dog", "cat", 0.7, "test"), ("p2", "old", "new", 0.2, "test"), ("p3", "a", "b", 1.0, "dev")]
    words.append(("p4", "fish", "bird", 0.1, "test"))
    pair_tables(words).write(tmp_path / "sources" / "words")
    pair_tables([("s1", "NEW", "old", 0.2, "train")]).write(tmp_path / "sources" / "seen")
    return tmp_path / "sources"


def test_of_mteb_s_retrieval_judged_queries_and_relevant_documents(tmp_path):
    queries, corpus, qrels = mini_retrieval(1)
    qrels.append(("q0", "d30", 0))  # judged not relevant
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


def test_of_mteb_s_similarity_every_pair_of_the_scored_split(tmp_path):
    folder = write_mini_benchmarks(tmp_path, ["ATEC"])["ATEC"]
    found = list(benchmark_texts("ATEC", MtebBenchmark(type="mteb", path=str(folder)), Path("nowhere")))
    assert [text.texts for text in found] == [pair[:2] for pair in mini_pairs(8, 1)]
    assert {text.kind for text in found} == {"pair"}
    assert [text.id for text in found][:3] == ["0", "1", "2"]


def test_of_a_retrieval_source_the_split_s_queries_and_their_documents(sources):
    entry = LocalRetrieval(type="retrieval", source="tags", split="test")
    assert list(benchmark_texts("Tags", entry, sources)) == [
        BenchmarkText("query", "q1", ("dog",)),
        BenchmarkText("query", "q2", ("river",)),
        BenchmarkText("document", "d1", ("the dog",)),
    ]


def test_of_a_similarity_source_the_pairs_it_scores(sources):
    entry = LocalSTS(type="sts", source="words", split="test", without_pairs_of=("seen",))
    found = [BenchmarkText("pair", "p1", ("dog", "cat")), BenchmarkText("pair", "p4", ("fish", "bird"))]
    assert list(benchmark_texts("Words", entry, sources)) == found


@pytest.mark.parametrize("golds", [[0.5], [0.5, 0.5, 0.5]])
def test_pairs_that_cannot_be_ranked_are_refused(golds, tmp_path):
    """Of one pair, or of pairs of one score, a rank correlation is not defined; it was "nan" after all training."""
    pairs = [(f"a{n}", f"b{n}", 3.0) for n, _ in enumerate(golds)]
    write_pairs_folder(tmp_path / "stsb", BENCHMARKS["STSB"], {BENCHMARKS["STSB"].split: pairs})
    with pytest.raises(InputError, match=r"evaluate\.benchmarks\.STSB.*two different scores"):
        open_rows(location_of("STSB", str(tmp_path / "stsb")))


def test_a_missing_source_is_named(sources):
    entry = LocalRetrieval(type="retrieval", source="words", split="test")
    with pytest.raises(InputError, match=r"evaluate\.benchmarks\.Tags.*'words'"):
        next(benchmark_texts("Tags", entry, sources))


def test_the_corpus_passes_through_and_is_not_held(tmp_path):
    """20,000 documents of 1,000 letters are 20 MB; the peak of what Python holds is a twentieth."""
    corpus = [(f"d{number}", "", f"{number:06d} " + "a" * 993) for number in range(20_000)]
    queries = [(f"q{number}", f"query {number}") for number in range(50)]
    qrels = [(f"q{number}", f"d{100 * number}", 1) for number in range(50)]
    write_retrieval_folder(tmp_path / "t2", BENCHMARKS["T2Retrieval"], queries, corpus, qrels)
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
