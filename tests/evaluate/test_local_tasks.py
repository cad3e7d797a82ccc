from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from codiemb_pipeline.artifacts.ingest import PairTables, RetrievalTables
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.evaluate.benchmark import SourceBenchmark
from codiemb_pipeline.params.evaluate import LocalRetrieval, LocalSTS
from codiemb_pipeline.scoring.metrics import ndcg_at_k, spearman

CORPUS = [("the", "dog"), ("", "a cat"), ("big", "river"), ("", "red house"), ("old", "paper"), ("new", "music"),
          ("", "blue bird"), ("", "green fish"), ("small", "mountain"), ("", "cat and dog"), ("", "river bird"),
          ("the", "big blue house of the old dog")]  # fmt: skip
# Ids of queries and documents overlap on purpose; query 3 has no relevant document, query 4 is of another split.
QUERIES = [("dog", "test"), ("river", "test"), ("paper", "test"), ("mountain", "test"), ("music", "train")]
QRELS = {0: {0: 1, 9: 2, 11: 1}, 1: {2: 1, 10: 3}, 2: {4: 1}, 4: {5: 1}}
PAIRS = [("dog", "cat", 0.7), ("dog", "river", 0.1), ("red", "blue", 0.5), ("old", "new", 0.2), ("bird", "fish", 0.9),
         ("the house", "a house", 0.9), ("music", "music", 1.0)]  # fmt: skip


def write_pairs(folder: Path, pairs: list[tuple[str, str, float]], split: str = "test") -> None:
    rows = [(str(number), *pair, split) for number, pair in enumerate(pairs)]
    PairTables(pd.DataFrame(rows, columns=["pair_id", "text_a", "text_b", "gold", "split"])).write(folder)


def write_retrieval(folder: Path, corpus: list[tuple[str, str]] = CORPUS) -> None:
    queries = pd.DataFrame([(str(n), *query) for n, query in enumerate(QUERIES)], columns=["query_id", "text", "split"])
    documents = pd.DataFrame([(str(n), *doc) for n, doc in enumerate(corpus)], columns=["doc_id", "title", "text"])
    judged = [(str(query), str(doc), grade) for query, row in QRELS.items() for doc, grade in row.items()]
    qrels = pd.DataFrame(judged, columns=["query_id", "doc_id", "relevance"])
    none = pd.DataFrame({"query_id": [], "doc_id": []}, dtype=str)
    RetrievalTables(queries, documents, qrels, none).write(folder)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    write_retrieval(tmp_path / "tags")
    write_pairs(tmp_path / "words", PAIRS)
    return tmp_path


def retrieval(**values: Any) -> LocalRetrieval:
    return LocalRetrieval(**{"type": "retrieval", "source": "tags", "split": "test", **values})


def similarity(**values: Any) -> LocalSTS:
    return LocalSTS(**{"type": "sts", "source": "words", "split": "test", **values})


def mteb_score(encoder: Encoder, benchmark: SourceBenchmark, folder: Path) -> float:
    import mteb

    from codiemb_pipeline.evaluate.mteb_encoder import MtebEncoder

    model = MtebEncoder("tiny", folder, encoder.params, revision="none", tokens_per_chunk=256)
    found = mteb.evaluate(model, benchmark.make_task(), cache=None, show_progress_bar=False, co2_tracker=False)
    return found.task_results[0].scores["test"][0]["main_score"]


def test_mteb_s_ndcg_is_ours_on_the_same_vectors(sources, tiny_encoder_params, tiny_encoder_folder):
    encoder = load_encoder(tiny_encoder_params)
    queries = [text for text, split in QUERIES if split == "test"]
    asked = encode_texts(encoder, queries, prefix="query: ", tokens_per_chunk=256)
    documents = encode_texts(encoder, [f"{title} {text}".strip() for title, text in CORPUS], tokens_per_chunk=256)
    ranked = (asked @ documents.T).argsort(dim=1, descending=True)
    expected = ndcg_at_k(ranked, {query: QRELS[query] for query in (0, 1, 2)}, 10)
    assert 0.1 < expected < 0.95
    found = mteb_score(encoder, SourceBenchmark("Tags", retrieval(), sources), tiny_encoder_folder)
    assert found == pytest.approx(expected, abs=1e-5)  # mteb rounds to five decimals


def test_mteb_s_spearman_is_ours_and_scipy_s_on_the_same_vectors(sources, tiny_encoder_params, tiny_encoder_folder):
    encoder = load_encoder(tiny_encoder_params)
    a, b = (encode_texts(encoder, [pair[side] for pair in PAIRS], tokens_per_chunk=256) for side in (0, 1))
    gold = [pair[2] for pair in PAIRS]
    found = mteb_score(encoder, SourceBenchmark("Words", similarity(), sources), tiny_encoder_folder)
    assert found == pytest.approx(float(spearmanr(torch.cosine_similarity(a, b), gold).statistic), abs=1e-6)
    assert found == pytest.approx(spearman(torch.cosine_similarity(a, b), torch.tensor(gold)), abs=1e-6)


def test_a_retrieval_benchmark_asks_its_split_against_the_whole_corpus(sources):
    data = SourceBenchmark("Tags", retrieval(), sources)
    assert data.size == data.rows.size == {"queries": 3, "documents": 12}
    assert data.rows.scored_queries == [("0", "dog"), ("1", "river"), ("2", "paper")]
    assert list(data.rows.documents())[:2] == [("0", "the dog"), ("1", "a cat")]
    assert data.rows.qrels["1"] == {"2": 1, "10": 3}


def test_pairs_of_other_sources_are_left_out_in_either_order_and_of_any_split(sources):
    write_pairs(sources / "seen", [("CAT", "Dog!", 0.3), ("old", "new", 0.2), ("bird", "dog", 0.1)], split="train")
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
