"""The stage on a tiny encoder and tiny sources: scores against sklearn and scipy, and what is computed again."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluate_params import evaluate_params
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score
from source_tables import DOCUMENTS, PAIRS, QRELS, SCORED, TAGS, WORDS, write_pairs, write_retrieval

from codiemb_pipeline.artifacts.merge import Base, BestCheckpoint, MergeSummary
from codiemb_pipeline.artifacts.train import Checkpoint, TrainedRun, checkpoint_name
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.errors import InputError, PipelineError
from codiemb_pipeline.evaluate import mteb_encoder
from codiemb_pipeline.evaluate.run import evaluate_models, select_models
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params import EncoderParams, EvaluateParams


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    write_retrieval(tmp_path / "sources" / "tags")
    write_pairs(tmp_path / "sources" / "words", PAIRS)
    write_pairs(tmp_path / "sources" / "seen", [("CAT", "Dog", 0.3)])
    return tmp_path / "sources"


def params(**benchmarks: dict[str, Any]) -> EvaluateParams:
    return evaluate_params({"Tags": TAGS, "Words": WORDS} | benchmarks, geometry={"seed": 1, "texts": 10})


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


def test_scores_equal_sklearn_and_scipy_on_the_same_vectors(evaluate, tiny_encoder_params):
    summary = read_json(evaluate(params()) / "summary.json")
    encoder = load_encoder(tiny_encoder_params)
    vectors = {
        prefix: encode_texts(encoder, texts, prefix=prefix, tokens_per_chunk=256).numpy()
        for prefix, texts in (("query: ", SCORED), ("", DOCUMENTS))
    }
    gains = [[QRELS[query].get(document, 0) for document in range(len(DOCUMENTS))] for query in range(len(SCORED))]
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
    assert len(queries) == len(SCORED)
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
    evaluate(params())
    encoded.clear()
    evaluate(params(Words={**WORDS, "without_pairs_of": ["seen"]}))
    assert [label for label, _ in encoded] == ["base Words"] * 2


def test_changed_rows_are_evaluated_again(evaluate, encoded, sources):
    evaluate(params())
    encoded.clear()
    write_pairs(sources / "words", [*PAIRS[:-1], ("music", "music", 0.3)])
    evaluate(params())
    assert [label for label, _ in encoded] == ["base Words"] * 2


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
    assert {label for label, _ in encoded} == {"base Words"}


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
        (["checkpoints"], ["main/step-000010", "main/step-000020", "hot/step-000010", "hot/step-000020"]),
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
