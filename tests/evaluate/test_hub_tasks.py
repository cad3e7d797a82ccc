"""The paper's 15 benchmarks end to end on miniature folders, with sockets blocked: scores, means, what is kept."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluate_params import evaluate_params
from mini_benchmarks import (
    MINI_SIZES,
    mini_pairs,
    mini_retrieval,
    write_mini_benchmarks,
)
from scipy.stats import spearmanr
from source_tables import PAIRS, WORDS, write_pairs

from codiemb_pipeline.benchmarks.registry import BENCHMARKS, METRICS, names_of
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.evaluate import mteb_encoder
from codiemb_pipeline.evaluate.run import evaluate_models
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params import EncoderParams
from codiemb_pipeline.scoring.metrics import ndcg_at_k

Evaluate = Callable[..., Path]
NAMES = tuple(BENCHMARKS)
INSTRUCTIONS = {"DuRetrieval": "river document", "STSB": "old music"}


@pytest.fixture(scope="module")
def encoder_params(tiny_encoder_params: EncoderParams) -> EncoderParams:
    """The tiny encoder with instructions of their own for two benchmarks; the paper's would fill its 32 tokens."""
    values = tiny_encoder_params.model_dump()
    values["prompts"]["instructions"] |= INSTRUCTIONS
    return EncoderParams.parse(values, "encoder")


@pytest.fixture(scope="module")
def evaluate(root: Path, encoder_params: EncoderParams, tiny_encoder_folder: Path) -> Evaluate:
    def run(out: Path, places: dict[str, Path | None], cache: str = "cache", *names: str, texts: int = 0) -> Path:
        entries = {
            name: {"type": "mteb", "path": None if place is None else str(place)} for name, place in places.items()
        }
        geometry = {"seed": 1, "texts": texts} if texts else None
        models = dict.fromkeys(names or ("base",), tiny_encoder_folder)
        settings = evaluate_params(entries, geometry=geometry)
        evaluate_models(settings, encoder_params, models, root / "none", root / cache, out)
        return out

    return run


@pytest.fixture(scope="module")
def places(root: Path) -> dict[str, Path]:
    return {name: root / "hub" / spec.hub_id for name, spec in BENCHMARKS.items()}


@pytest.fixture(scope="module")
def judged(root: Path, places: dict[str, Path], evaluate: Evaluate) -> Path:
    """All 15, two models of the same weights, and geometry."""
    return evaluate(root / "out", places, "cache", "base", "main/step-000010", texts=60)


def test_all_fifteen_have_results_by_their_metric_on_their_split(judged):
    summary = read_json(judged / "summary.json")
    assert list(summary["models"]) == ["base", "main/step-000010"]
    for name, spec in BENCHMARKS.items():
        result = read_json(judged / "results" / "base" / f"{name}.json")
        assert (result["split"], result["metric"], result["type"]) == (spec.split, METRICS[spec.type], spec.type)
        assert result["main_score"] == result["scores"][spec.metric] == summary["models"]["base"][name]
        facts = summary["benchmarks"][name]
        assert (facts["size"], facts["full"], facts["hub_id"]) == (MINI_SIZES[spec.type], False, spec.hub_id)
        assert facts["revision"].startswith("local-")
        assert "source" not in facts


def test_the_means_are_of_eight_of_seven_and_over_all_fifteen_tasks(judged):
    summary = read_json(judged / "summary.json")
    scores, paper = summary["models"]["base"], summary["paper"]
    assert paper["tasks"] == paper["of"] == {"retrieval": 8, "sts": 7, "all": 15}
    expected = {kind: np.mean([scores[name] for name in names_of(kind)]) for kind in ("retrieval", "sts")}
    assert paper["means"]["base"] == pytest.approx(
        {**expected, "all": (8 * expected["retrieval"] + 7 * expected["sts"]) / 15}, abs=2e-6
    )


def test_with_some_of_them_the_means_say_over_how_many(evaluate, places, tmp_path):
    some = {name: places[name] for name in ("BQ", "DuRetrieval", "STSB")}
    summary = read_json(evaluate(tmp_path, some) / "summary.json")
    scores, paper = summary["models"]["base"], summary["paper"]
    assert paper["tasks"] == {"retrieval": 1, "sts": 2, "all": 3}
    assert paper["of"] == {"retrieval": 8, "sts": 7, "all": 15}
    assert paper["means"]["base"]["all"] == pytest.approx(sum(scores.values()) / 3, abs=1e-6)
    alone = read_json(evaluate(tmp_path / "bq", {"BQ": places["BQ"]}) / "summary.json")["paper"]
    assert set(alone["means"]["base"]) == {"sts", "all"}


def test_retrieval_is_ndcg_on_the_same_vectors(judged, encoder_params):
    encoder = load_encoder(encoder_params)
    for place, name in ((0, "T2Retrieval"), (2, "DuRetrieval")):
        queries, corpus, qrels = mini_retrieval(place)
        prefix = encoder.prompts.prefix("ir", "query", name)
        asked = encode_texts(encoder, [text for _, text in queries[:-1]], prefix=prefix, tokens_per_chunk=512)
        texts = [f"{title} {text}".strip() for _, title, text in corpus]
        ranked = (asked @ encode_texts(encoder, texts, tokens_per_chunk=512).T).argsort(dim=1, descending=True)
        judgements: dict[int, dict[int, int]] = {}
        for query, document, score in qrels:
            judgements.setdefault(int(query[1:]), {})[int(document[1:])] = score
        found = read_json(judged / "results" / "base" / f"{name}.json")["main_score"]
        assert found == pytest.approx(ndcg_at_k(ranked, judgements, 10), abs=1e-5)
        items = read_json(judged / "items" / "base" / f"{name}.json")
        assert (len(items), np.mean(items)) == (12, pytest.approx(found, abs=1e-5))


@pytest.mark.parametrize(("place", "name"), [(8, "ATEC"), (9, "BQ"), (12, "STSB"), (13, "AFQMC")])
def test_similarity_is_spearman_of_the_pinned_split_alone(judged, encoder_params, place, name):
    """ATEC, BQ and STSB have a validation split that mteb would score as well; its scores here are turned round."""
    encoder = load_encoder(encoder_params)
    pairs = mini_pairs(place, BENCHMARKS[name].score_range[1])
    prefix = encoder.prompts.prefix("sts", "query", name)
    a, b = (
        encode_texts(encoder, [pair[side] for pair in pairs], prefix=prefix, tokens_per_chunk=512) for side in (0, 1)
    )
    expected = float(spearmanr(torch.cosine_similarity(a, b), [pair[2] for pair in pairs]).statistic)
    assert read_json(judged / "results" / "base" / f"{name}.json")["main_score"] == pytest.approx(expected, abs=1e-6)
    cosines, gold = read_json(judged / "items" / "base" / f"{name}.json"), read_json(judged / "gold" / f"{name}.json")
    assert cosines == pytest.approx(torch.cosine_similarity(a, b).tolist(), abs=1e-5)
    assert gold == pytest.approx([pair[2] / BENCHMARKS[name].score_range[1] for pair in pairs], abs=1e-6)


def test_an_instruction_of_a_benchmark_is_put_before_its_texts(evaluate, places, tmp_path, encoded):
    three = {name: places[name] for name in ("DuRetrieval", "STSB", "BQ")}
    evaluate(tmp_path / "out", three, f"cache of {tmp_path.name}")
    asked = f"{INSTRUCTIONS['DuRetrieval']}: "
    assert encoded == [
        ("base DuRetrieval", asked),
        ("base DuRetrieval", ""),
        *[("base STSB", f"{INSTRUCTIONS['STSB']}: ")] * 2,
        *[("base BQ", "")] * 2,
    ]


def test_a_second_run_encodes_nothing_and_writes_the_same_bytes(judged, evaluate, places, tmp_path, encoded):
    again = evaluate(tmp_path, places, "cache", "base", "main/step-000010", texts=60)
    assert encoded == []
    files = sorted(path.relative_to(judged) for path in judged.rglob("*.json"))
    assert len(files) == 2 * (15 + 15 + 16) + 7 + 2  # results, items and mteb's; gold of the pairs; summary, geometry
    for file in files:
        assert (judged / file).read_bytes() == (again / file).read_bytes()


def test_a_moved_folder_is_the_same_and_a_changed_one_is_evaluated_again(judged, evaluate, places, tmp_path, encoded):
    moved = {name: shutil.copytree(places[name], tmp_path / name) for name in ("BQ", "LCQMC")}
    evaluate(tmp_path / "same", moved)
    assert encoded == []
    write_mini_benchmarks(tmp_path / "other", ["BQ"])
    table = tmp_path / "other/C-MTEB/BQ/data/test-00000-of-00001.parquet"
    shutil.copy(places["PAWSX"] / "data" / table.name, table)
    evaluate(tmp_path / "changed", {**moved, "BQ": tmp_path / "other/C-MTEB/BQ"})
    assert {label for label, _ in encoded} == {"base BQ"}


@pytest.mark.parametrize("missing", [None, Path("nowhere")])
def test_without_data_nothing_is_encoded(evaluate, places, tmp_path, encoded, missing):
    with pytest.raises(InputError, match=r"evaluate\.benchmarks\.VideoRetrieval\.path"):
        evaluate(tmp_path, {"PAWSX": places["PAWSX"], "VideoRetrieval": missing}, f"cache of {tmp_path.name}")
    assert encoded == []


def test_searching_block_by_block_gives_the_same_scores(judged, evaluate, places, tmp_path, monkeypatch):
    """12 queries by 7 documents at a time."""
    monkeypatch.setattr(mteb_encoder, "SCORES_AT_ONCE", 12 * 7)
    one = {"CmedqaRetrieval": places["CmedqaRetrieval"]}
    found = evaluate(tmp_path, one, f"cache of {tmp_path.name}")
    for part in ("results", "items"):
        file = Path(part, "base", "CmedqaRetrieval.json")
        assert (found / file).read_bytes() == (judged / file).read_bytes()


def test_the_geometry_is_measured_on_their_texts(judged):
    geometry = read_json(judged / "geometry.json")
    assert (geometry["texts"], geometry["dimension"]) == (60, 16)
    # 18 relevant documents of 8 tasks; 10 pairs of the highest gold in each of 7.
    assert geometry["positive_pairs"] == 8 * 18 + 7 * 10
    values = geometry["models"]["base"]
    assert values["alignment"] > 0
    assert -1.0 <= values["anisotropy"] <= 1.0
    assert 0.0 < values["token_similarity"] <= 1.0
    assert 1.0 <= values["effective_rank"] <= 16.0


def test_a_benchmark_of_a_source_stands_beside_them_and_in_no_mean_of_theirs(
    root, encoder_params, tiny_encoder_folder, places, tmp_path
):
    write_pairs(tmp_path / "sources" / "words", PAIRS)
    entries = {"Words": WORDS, "BQ": {"type": "mteb", "path": str(places["BQ"])}}
    settings = evaluate_params(entries, geometry={"seed": 1, "texts": 10})
    evaluate_models(settings, encoder_params, {"base": tiny_encoder_folder}, tmp_path / "sources", root / "cache",
                    tmp_path / "out")  # fmt: skip
    summary = read_json(tmp_path / "out" / "summary.json")
    assert summary["benchmark_order"] == ["Words", "BQ"]
    assert summary["benchmarks"]["Words"]["source"] == "words"
    assert summary["paper"]["means"]["base"] == dict.fromkeys(("sts", "all"), summary["models"]["base"]["BQ"])
    assert not (tmp_path / "out" / "mteb" / "base" / "Words.json").exists()
