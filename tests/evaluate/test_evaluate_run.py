"""The stage on a tiny encoder and tiny sources: scores against sklearn and scipy, and what is computed again."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from evaluate_params import evaluate_params
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score

from codiemb_pipeline.artifacts.ingest import PairTables, RetrievalTables
from codiemb_pipeline.artifacts.merge import Base, BestCheckpoint, MergeSummary
from codiemb_pipeline.artifacts.train import Checkpoint, TrainedRun, checkpoint_name
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.errors import InputError, PipelineError
from codiemb_pipeline.evaluate import mteb_encoder
from codiemb_pipeline.evaluate.run import evaluate_models, select_models
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params import EncoderParams, EvaluateParams

DOCUMENTS = ["the dog", "a cat", "big river", "red house", "old paper", "new music", "blue bird", "green fish",
             "small mountain", "cat and dog", "house of paper", "river bird"]  # fmt: skip
QUERIES = ["dog", "river", "paper"]
QRELS = [(0, 0, 1), (0, 9, 2), (1, 2, 1), (1, 11, 1), (2, 4, 2), (2, 10, 1)]
PAIRS = [("dog", "cat", 0.7), ("dog", "river", 0.1), ("red", "blue", 0.5), ("old", "new", 0.2), ("bird", "fish", 0.9)]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    queries = [{"query_id": f"q{n}", "text": text, "split": "test"} for n, text in enumerate(QUERIES)]
    queries.append({"query_id": "q9", "text": "music", "split": "train"})
    corpus = [{"doc_id": f"d{n}", "title": "", "text": text} for n, text in enumerate(DOCUMENTS)]
    qrels = [{"query_id": f"q{q}", "doc_id": f"d{d}", "relevance": grade} for q, d, grade in QRELS]
    qrels.append({"query_id": "q9", "doc_id": "d5", "relevance": 1})
    none = pd.DataFrame({"query_id": [], "doc_id": []}, dtype=str)
    RetrievalTables(*map(pd.DataFrame, (queries, corpus, qrels)), none).write(tmp_path / "sources" / "tags")
    write_pairs(tmp_path / "sources" / "words", PAIRS)
    write_pairs(tmp_path / "sources" / "seen", [("CAT", "Dog", 0.3)])
    return tmp_path / "sources"


def write_pairs(folder: Path, pairs: list[tuple[str, str, float]]) -> None:
    rows = [
        {"pair_id": f"p{n}", "text_a": a, "text_b": b, "gold": g, "split": "test"} for n, (a, b, g) in enumerate(pairs)
    ]
    PairTables(pd.DataFrame(rows)).write(folder)


def params(**benchmarks: dict[str, Any]) -> EvaluateParams:
    chosen = benchmarks or {
        "Tags": {"type": "retrieval", "source": "tags", "split": "test"},
        "Words": {"type": "sts", "source": "words", "split": "test"},
    }
    return evaluate_params(chosen, geometry={"seed": 1, "texts": 10})


@pytest.fixture
def evaluate(
    tmp_path: Path, sources: Path, tiny_encoder_folder: Path, tiny_encoder_params: EncoderParams
) -> Callable[..., Path]:
    """Evaluate the tiny encoder as ``base`` and return the folder written; the cache is shared between calls."""

    def run(settings: EvaluateParams, name: str = "out") -> Path:
        models = {"base": tiny_encoder_folder}
        evaluate_models(settings, tiny_encoder_params, models, sources, tmp_path / "cache", tmp_path / name)
        return tmp_path / name

    return run


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the label of every call that encodes for mteb."""
    labels: list[str] = []

    def spy(*arguments: Any, **options: Any) -> Any:
        labels.append(options["progress"])
        return encode_texts(*arguments, **options)

    monkeypatch.setattr(mteb_encoder, "encode_texts", spy)
    return labels


def test_scores_equal_sklearn_and_scipy_on_the_same_vectors(evaluate, tiny_encoder_params):
    summary = read_json(evaluate(params()) / "summary.json")
    encoder = load_encoder(tiny_encoder_params)
    vectors = {
        prefix: encode_texts(encoder, texts, prefix=prefix, tokens_per_chunk=256).numpy()
        for prefix, texts in (("query: ", QUERIES), ("", DOCUMENTS))
    }
    gains = np.zeros((len(QUERIES), len(DOCUMENTS)))
    for query, document, grade in QRELS:
        gains[query, document] = grade
    expected = ndcg_score(gains, vectors["query: "] @ vectors[""].T, k=10)
    assert summary["models"]["base"]["Tags"] == pytest.approx(expected, abs=1e-5)
    sides = [encode_texts(encoder, [pair[side] for pair in PAIRS], tokens_per_chunk=256).numpy() for side in (0, 1)]
    rank = spearmanr((sides[0] * sides[1]).sum(axis=1), [gold for *_, gold in PAIRS])[0]
    assert summary["models"]["base"]["Words"] == pytest.approx(rank, abs=1e-5)
    assert summary["benchmarks"]["Tags"]["size"]["documents"] == len(DOCUMENTS)


def test_the_items_of_a_benchmark_make_up_its_score(evaluate):
    out = evaluate(params())
    scores = read_json(out / "summary.json")["models"]["base"]
    queries, cosines = (read_json(out / f"items/base/{name}.json") for name in ("Tags", "Words"))
    assert len(queries) == len(QUERIES)
    assert np.mean(queries) == pytest.approx(scores["Tags"], abs=2e-5)
    gold = read_json(out / "gold/Words.json")
    assert gold == pytest.approx([gold for *_, gold in PAIRS])
    assert spearmanr(cosines, gold).statistic == pytest.approx(scores["Words"], abs=1e-5)
    assert not (out / "gold/Tags.json").exists()


def test_a_second_run_encodes_nothing_and_writes_the_same_bytes(evaluate, encoded):
    once = evaluate(params(), "once")
    assert encoded
    encoded.clear()
    again = evaluate(params(), "again")
    assert encoded == []
    files = sorted(path.relative_to(once) for path in once.rglob("*.json"))
    assert len(files) == 4 + 2 + 1  # results, summary and geometry; the items of each benchmark; gold of the pairs
    for file in files:
        assert (once / file).read_bytes() == (again / file).read_bytes()


def test_changing_one_benchmark_evaluates_only_it(evaluate, encoded):
    tags = {"type": "retrieval", "source": "tags", "split": "test"}
    words = {"type": "sts", "source": "words", "split": "test"}
    evaluate(params(Tags=tags, Words=words))
    encoded.clear()
    evaluate(params(Tags=tags, Words={**words, "without_pairs_of": ["seen"]}))
    assert encoded == ["base Words"] * 2


def test_changed_rows_are_evaluated_again(evaluate, encoded, sources):
    evaluate(params())
    encoded.clear()
    write_pairs(sources / "words", [*PAIRS[:-1], ("bird", "fish", 0.3)])
    evaluate(params())
    assert encoded == ["base Words"] * 2


def test_pairs_of_other_sources_are_left_out_in_either_order(evaluate):
    words = {"type": "sts", "source": "words", "split": "test", "without_pairs_of": ["seen"]}
    result = read_json(evaluate(params(Words=words)) / "results" / "base" / "Words.json")
    assert result["size"] == {"pairs": len(PAIRS) - 1}


def test_defect_7_a_failed_benchmark_is_named_and_what_was_finished_is_kept(evaluate, encoded, monkeypatch):
    def broken(*_: Any, **options: Any) -> Any:
        if "Words" in options["progress"]:
            raise RuntimeError("out of luck")
        return encode_texts(*_, **options)

    with monkeypatch.context() as patch:
        patch.setattr(mteb_encoder, "encode_texts", broken)
        with pytest.raises(PipelineError, match=r"base on Words failed.*out of luck"):
            evaluate(params())
    evaluate(params())
    assert set(encoded) == {"base Words"}


def test_a_benchmark_without_rows_is_named(evaluate):
    with pytest.raises(InputError, match=r"evaluate\.benchmarks\.Words.*'dev'"):
        evaluate(params(Words={"type": "sts", "source": "words", "split": "dev"}))


def test_geometry_is_measured_for_every_model(evaluate):
    geometry = read_json(evaluate(params()) / "geometry.json")
    assert (geometry["texts"], geometry["dimension"]) == (10, 16)
    values = geometry["models"]["base"]
    assert -1.0 <= values["anisotropy"] <= 1.0
    assert 0.0 < values["token_similarity"] <= 1.0
    assert 1.0 <= values["effective_rank"] <= 10.0


@pytest.fixture
def run_folders(tmp_path: Path, tiny_encoder_folder: Path) -> tuple[Path, Path, Path]:
    """Base, two runs with checkpoints of two steps, and merged by two recipes."""
    checkpoints, merged = tmp_path / "checkpoints", tmp_path / "merged"
    base, *trained = (Checkpoint(name=checkpoint_name(step), step=step, dev={}) for step in (0, 10, 20))
    for run in ("main", "hot"):
        TrainedRun(base_sha256="ab", base=base, checkpoints=trained).write(checkpoints / run / "run.json")
    MergeSummary(
        base=Base(sha256="ab"), candidates=[], best_checkpoint=BestCheckpoint(name="", dev=0.0),
        order=["uniform", "greedy"], methods={},
    ).write(merged / "summary.json")  # fmt: skip
    for method in ("uniform", "greedy"):
        shutil.copytree(tiny_encoder_folder, merged / method)
    return tiny_encoder_folder, checkpoints, merged


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (
            ["merged", "last", "base"],
            ["base", "main/step-000020", "hot/step-000020", "merged-uniform", "merged-greedy"],
        ),
        (
            ["checkpoints"],
            ["main/step-000010", "main/step-000020", "hot/step-000010", "hot/step-000020"],
        ),
        (["merged-greedy", "hot/step-000010", "merged-greedy"], ["hot/step-000010", "merged-greedy"]),
    ],
)
def test_models_are_found_by_group_or_name(run_folders, wanted, expected):
    base, *others = run_folders
    models = select_models(wanted, base, ["main", "hot"], *others)
    assert list(models) == expected
    for name, folder in models.items():
        assert folder == base if name == "base" else str(folder).endswith("/" + name.removeprefix("merged-"))


def test_an_unknown_model_is_refused_with_the_nearest(run_folders):
    with pytest.raises(InputError, match=r"'merged-gredy' \(did you mean 'merged-greedy'\?\)"):
        select_models(["merged-gredy"], run_folders[0], ["main", "hot"], *run_folders[1:])
