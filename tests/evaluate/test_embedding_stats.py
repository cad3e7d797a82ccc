from pathlib import Path

import pandas as pd
import pytest
import torch
from mini_benchmarks import keep_prepared_copies_in, mini_pairs, mini_retrieval, write_mini_benchmarks

from codiemb_pipeline.artifacts.ingest import PairTables, RetrievalTables
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.evaluate.benchmark import HubBenchmark, SourceBenchmark
from codiemb_pipeline.evaluate.cache import ResultCache
from codiemb_pipeline.evaluate.embedding_stats import (
    Probe,
    alignment,
    anisotropy,
    make_probe,
    measure_embeddings,
    spectrum,
    uniformity,
)
from codiemb_pipeline.params.evaluate import GeometryParams, LocalRetrieval, LocalSTS, MtebBenchmark

ROWS = [("dog", "cat", 0.79), ("cat", "fish", 0.1), ("bird", "a bird", 0.8)]


def write_source(folder: Path, queries, corpus, qrels, pairs) -> list[SourceBenchmark]:
    """Write a retrieval and a similarity source; return a benchmark of each."""
    retrieval = RetrievalTables(
        pd.DataFrame([(*query, "test") for query in queries], columns=["query_id", "text", "split"]),
        pd.DataFrame(corpus, columns=["doc_id", "title", "text"]),
        pd.DataFrame(qrels, columns=["query_id", "doc_id", "relevance"]),
        pd.DataFrame({"query_id": [], "doc_id": []}, dtype=str),
    )
    retrieval.write(folder / "tags")
    rows = [(str(number), *pair, "test") for number, pair in enumerate(pairs)]
    PairTables(pd.DataFrame(rows, columns=["pair_id", "text_a", "text_b", "gold", "split"])).write(folder / "words")
    return [
        SourceBenchmark("Tags", LocalRetrieval(type="retrieval", source="tags", split="test"), folder),
        SourceBenchmark("Words", LocalSTS(type="sts", source="words", split="test"), folder),
    ]


@pytest.fixture
def benchmarks(tmp_path: Path) -> list[SourceBenchmark]:
    corpus = [("0", "", "the dog"), ("1", "big", "water")]
    return write_source(tmp_path, [("0", "dog"), ("1", "river")], corpus, [("0", "0", 1), ("1", "1", 2)], ROWS)


TEXTS = {"dog", "river", "the dog", "big water", "cat", "fish", "bird", "a bird"}
PAIRS = {("dog", "the dog"), ("river", "big water"), ("bird", "a bird")}


def test_a_probe_holds_every_text_once_and_the_pairs_that_belong_together(benchmarks):
    probe = make_probe(benchmarks, GeometryParams(seed=1, texts=100))
    assert len(probe.texts) == len(TEXTS)
    assert (set(probe.texts), set(probe.pairs)) == (TEXTS, PAIRS)


def test_a_probe_depends_on_the_seed_but_not_on_the_order_of_benchmarks(benchmarks):
    few = GeometryParams(seed=1, texts=4)
    probe = make_probe(benchmarks, few)
    assert len(probe.texts) == 4
    assert make_probe(benchmarks[::-1], few) == probe
    others = [make_probe(benchmarks, GeometryParams(seed=seed, texts=4)).texts for seed in range(2, 6)]
    assert any(texts != probe.texts for texts in others)


def test_the_measures_are_the_formulas_on_the_encoder_s_vectors(tiny_encoder_params, benchmarks):
    encoder = load_encoder(tiny_encoder_params)
    probe = make_probe(benchmarks, GeometryParams(seed=1, texts=100))
    measured = measure_embeddings(encoder, probe, tokens_per_chunk=64)
    vectors = encode_texts(encoder, probe.texts, tokens_per_chunk=64)
    first, second = (
        encode_texts(encoder, [pair[side] for pair in probe.pairs], tokens_per_chunk=64) for side in (0, 1)
    )
    similarities = []
    for text in probe.texts:
        ids = encoder.tokenizer.backend(text)["input_ids"]
        with torch.inference_mode():
            states = encoder.model.backbone(input_ids=torch.tensor([ids])).last_hidden_state[0]
        cosines = torch.cosine_similarity(states[:, None], states[None], dim=-1)
        similarities.append(float(cosines[~torch.eye(len(ids), dtype=torch.bool)].mean()))
    expected = {
        "anisotropy": anisotropy(vectors),
        "alignment": alignment(first, second),
        "uniformity": uniformity(vectors),
        **spectrum(vectors),
        "token_similarity": sum(similarities) / len(similarities),
    }
    assert measured == pytest.approx(expected, abs=1e-5)


def test_without_pairs_there_is_no_alignment(tiny_encoder_params):
    measured = measure_embeddings(load_encoder(tiny_encoder_params), Probe(["dog", "cat"], []), tokens_per_chunk=64)
    assert measured["alignment"] is None
    assert measured["anisotropy"] is not None


def test_many_items_are_drawn_as_if_all_were_sorted_at_once():
    """5,000 texts, each twice, and 40 to draw: what is held is pruned many times over."""
    from codiemb_pipeline.evaluate.embedding_stats import _drawn
    from codiemb_pipeline.texts import hash_share

    texts = [f"text {number % 5000}" for number in range(10_000)]
    expected = sorted(set(texts), key=lambda text: (hash_share(3, "geometry", text), text))[:40]
    assert _drawn(iter(texts), 40, 3) == expected


def test_a_benchmark_of_mteb_gives_the_probe_its_rows_would_give(tmp_path, monkeypatch):
    keep_prepared_copies_in(tmp_path / "prepared", monkeypatch)
    folders = write_mini_benchmarks(tmp_path / "hub", ["T2Retrieval", "STSB"])
    cache = ResultCache(tmp_path / "cache")
    hub = [HubBenchmark(n, MtebBenchmark(type="mteb", path=str(p)), cache) for n, p in folders.items()]
    queries, corpus, qrels = mini_retrieval(0)
    pairs = [(first, second, gold / 5) for first, second, gold in mini_pairs(12, 5)]
    rows = write_source(tmp_path / "sources", queries[:-1], corpus, qrels, pairs)
    whole = GeometryParams(seed=1, texts=1000)
    assert make_probe(hub, whole) == make_probe(rows, whole)
    assert len(make_probe(hub, whole).pairs) == 18 + 10
