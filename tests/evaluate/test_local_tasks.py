from pathlib import Path
from typing import Any

import pytest
from source_tables import CORPUS, PAIRS, TAGS, WORDS, write_pairs, write_retrieval

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.evaluate.benchmark import SourceBenchmark
from codiemb_pipeline.params.evaluate import LocalRetrieval, LocalSTS


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    write_retrieval(tmp_path / "tags")
    write_pairs(tmp_path / "words", PAIRS)
    return tmp_path


def retrieval(**values: Any) -> LocalRetrieval:
    return LocalRetrieval(**{**TAGS, **values})


def similarity(**values: Any) -> LocalSTS:
    return LocalSTS(**{**WORDS, **values})


def test_a_retrieval_benchmark_asks_its_split_against_the_whole_corpus(sources):
    data = SourceBenchmark("Tags", retrieval(), sources)
    assert data.size == data.rows.size == {"queries": 3, "documents": 12}
    assert data.rows.scored_queries == [("0", "dog"), ("1", "river"), ("2", "paper")]
    assert list(data.rows.documents())[:2] == [("0", "the dog"), ("1", "a cat")]
    assert data.rows.qrels["1"] == {"2": 1, "10": 3}


def test_pairs_of_other_sources_are_left_out_in_either_order_and_of_any_split(sources):
    write_pairs(sources / "seen", [("CAT", " Dog ", 0.3), ("old", "new", 0.2), ("bird", "dog", 0.1)], split="train")
    write_pairs(sources / "more", [("blue", "red", 0.3)])
    kept = SourceBenchmark("Words", similarity(without_pairs_of=("seen", "more")), sources).rows
    pairs = [(*texts, gold) for texts, gold in zip(kept.texts(), kept.gold(), strict=True)]
    assert pairs == [pair for pair in PAIRS if pair[:2] not in {("dog", "cat"), ("old", "new"), ("red", "blue")}]


def test_the_revision_is_that_of_the_rows(sources):
    def revisions() -> tuple[str, str]:
        tags, words = SourceBenchmark("Tags", retrieval(), sources), SourceBenchmark("Words", similarity(), sources)
        return tags.revision, words.revision

    before = revisions()
    assert revisions() == before
    write_retrieval(sources / "tags", [*CORPUS[:-1], ("the", "big blue house of the old cat")])
    write_pairs(sources / "words", [*PAIRS[:-1], ("music", "music", 0.9)])
    after = revisions()
    assert before[0] != after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize(
    ("benchmark", "named"),
    [
        (retrieval(split="dev"), r"evaluate\.benchmarks\.Mine.*'tags'.*'dev'"),
        (similarity(split="train"), r"evaluate\.benchmarks\.Mine.*'words'.*'train'"),
        (similarity(without_pairs_of=("words",)), r"evaluate\.benchmarks\.Mine.*'words'"),
        (retrieval(source="words"), "'words'.*'ir'"),
        (similarity(source="wrods"), "'wrods'.*tags, words"),
    ],
)
def test_a_benchmark_without_rows_is_refused(sources, benchmark, named):
    with pytest.raises(InputError, match=named):
        SourceBenchmark("Mine", benchmark, sources)
