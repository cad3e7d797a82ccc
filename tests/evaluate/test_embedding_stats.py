import math
from pathlib import Path

import pytest
import torch
from mini_benchmarks import keep_prepared_copies_in, mini_pairs, mini_retrieval, write_mini_benchmarks
from source_tables import TAGS, WORDS, write_pairs
from tiny_tables import retrieval_tables

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
    token_similarity,
    uniformity,
)
from codiemb_pipeline.params.evaluate import GeometryParams, LocalRetrieval, LocalSTS, MtebBenchmark

ORTHOGONAL = torch.diag(torch.tensor([1.0, 2.0, 5.0, 0.1]))  # lengths do not matter
COLLAPSED = torch.tensor([[3.0, 4.0]]) * torch.tensor([[1.0], [2.0], [10.0]])
ROWS = [("dog", "cat", 0.79), ("cat", "fish", 0.1), ("bird", "a bird", 0.8)]


def write_source(folder: Path, queries, corpus, qrels, pairs) -> list[SourceBenchmark]:
    """Write a retrieval and a similarity source; return a benchmark of each."""
    retrieval_tables([(*query, "test") for query in queries], corpus, qrels).write(folder / "tags")
    write_pairs(folder / "words", pairs)
    return [
        SourceBenchmark("Tags", LocalRetrieval(**TAGS), folder),
        SourceBenchmark("Words", LocalSTS(**WORDS), folder),
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


def test_orthogonal_rows_are_isotropic_and_collapsed_rows_are_not():
    assert anisotropy(ORTHOGONAL) == pytest.approx(0.0, abs=1e-12)
    assert anisotropy(COLLAPSED) == pytest.approx(1.0, abs=1e-7)
    assert anisotropy(torch.tensor([[1.0, 0.0], [-2.0, 0.0]])) == pytest.approx(-1.0, abs=1e-12)


def test_anisotropy_is_the_mean_cosine_of_different_rows():
    rows = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    cosines = [float(torch.cosine_similarity(rows[i], rows[j], dim=0)) for i in range(7) for j in range(7) if i != j]
    assert anisotropy(rows) == pytest.approx(sum(cosines) / len(cosines), abs=1e-6)


def test_alignment_is_the_mean_squared_distance_of_partners():
    first = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    second = torch.tensor([[5.0, 0.0], [3.0, 0.0], [-1.0, -1.0]])  # the same way, a right angle, opposite
    assert alignment(first, second) == pytest.approx((0 + 2 + 4) / 3, abs=1e-12)
    assert alignment(first[:0], second[:0]) is None


def test_uniformity_is_zero_when_collapsed_and_minus_four_at_right_angles():
    assert uniformity(COLLAPSED) == pytest.approx(0.0, abs=1e-6)
    assert uniformity(ORTHOGONAL) == pytest.approx(-4.0, abs=1e-9)  # every squared distance is 2
    line = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])  # squared distances 2, 2, 4
    assert uniformity(line) == pytest.approx(math.log((2 * math.exp(-4) + math.exp(-8)) / 3), abs=1e-9)


def test_orthogonal_rows_use_every_direction_alike():
    measured = spectrum(3 * torch.eye(4))
    expected = {"effective_rank": 4.0, "svd_entropy": 1.0, "numeric_rank": 4, "condition_number": 1.0}
    assert measured == pytest.approx(expected, abs=1e-9)


def test_collapsed_rows_use_one_direction_and_have_no_condition_number():
    measured = spectrum(COLLAPSED)
    assert measured["effective_rank"] == pytest.approx(1.0, abs=1e-4)
    assert measured["svd_entropy"] == pytest.approx(0.0, abs=1e-4)
    assert measured["numeric_rank"] == 1
    assert measured["condition_number"] is None


def test_the_spectrum_of_known_singular_values():
    rows = torch.tensor([[1.0, 0.0]] * 9 + [[0.0, 1.0]])  # singular values 3 and 1
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    expected = {
        "effective_rank": math.exp(entropy),
        "svd_entropy": entropy / math.log(2),
        "numeric_rank": 2,
        "condition_number": 3.0,
    }
    assert spectrum(rows) == pytest.approx(expected, abs=1e-9)


def test_one_dimension_has_no_entropy():
    expected = {"effective_rank": 1.0, "svd_entropy": 0.0, "numeric_rank": 1, "condition_number": 1.0}
    assert spectrum(torch.tensor([[2.0], [3.0]])) == pytest.approx(expected)


def test_token_similarity_is_the_mean_cosine_of_a_text_s_different_tokens():
    states = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 1, 1]])
    expected = []
    for text, kept in zip(states, mask.bool(), strict=True):
        tokens = text[kept]
        pairs = [(i, j) for i in range(len(tokens)) for j in range(len(tokens)) if i != j]
        cosines = [float(torch.cosine_similarity(tokens[i], tokens[j], dim=0)) for i, j in pairs]
        expected.append(sum(cosines) / len(cosines))
    assert token_similarity(states, mask).tolist() == pytest.approx(expected, abs=1e-6)


def test_a_single_token_is_like_nothing():
    assert token_similarity(torch.ones(1, 3, 2), torch.tensor([[1, 0, 0]])).isnan().all()
