"""The rows of the ablation, its bootstrap and its table; the stages it composes are tested alone."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from codiemb_pipeline.ablation.rows import Rows, flat
from codiemb_pipeline.ablation.table import interval, measure, resampled_scores, write_table
from codiemb_pipeline.artifacts.evaluate import BenchmarkFacts, EvaluationSummary, write_gold, write_items
from codiemb_pipeline.errors import InputError

ROOT = Path(__file__).parents[2]
VALUES = {
    "rows": {"codiemb": {"label": "CoDiEmb", "train": {}}, "other": {"label": "other", "train": {"seed": 1}}},
    "merged": {"soup": {"label": "soup", "recipe": {"method": "uniform", "runs": ["codiemb"]}}},
    "reference": "codiemb",
    "bootstrap": {"seed": 1, "resamples": 200, "level": 0.95},
}
GOLD = [0.0, 0.25, 0.5, 0.75, 1.0]
RIGHT, WRONG = [0.1, 0.2, 0.3, 0.4, 0.5], [0.5, 0.4, 0.3, 0.2, 0.1]


def write_evaluation(
    folder: Path, items: dict[str, dict[str, list[float]]], scores: dict[str, dict[str, float | None]]
) -> None:
    EvaluationSummary(
        models=scores,
        benchmarks={
            "Tags": BenchmarkFacts(type="retrieval", metric="ndcg_at_10", split="test", size={}),
            "Words": BenchmarkFacts(type="sts", metric="cosine_spearman", split="test", size={}),
        },
        model_order=list(scores),
        benchmark_order=["Tags", "Words"],
    ).write(folder / "summary.json")
    write_gold(folder, "Words", GOLD)
    for model, of_model in items.items():
        for name, values in of_model.items():
            write_items(folder, model, name, values)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Two seeds: 'other' is better at every query by 0.2, and has all pairs in the wrong order."""
    for seed, shift in ((1, 0.0), (2, 0.1)):
        plain = {"Tags": [0.2 + shift, 0.4 + shift], "Words": RIGHT}
        other = {"Tags": [0.4 + shift, 0.6 + shift], "Words": WRONG}
        items = {"base": plain, "codiemb": plain, "merged-soup": plain, "other": other}
        scores = {model: {"Tags": 0.3 + shift, "Words": 1.0} for model in items}
        scores["other"] = {"Tags": 0.5 + shift, "Words": -1.0}
        write_evaluation(tmp_path / "output" / str(seed), items, scores)
    return tmp_path / "output"


def records(rows: Rows, output: Path, folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    write_table(rows, measure(rows, output), folder / "table.csv", folder / "table.md")
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        return {(row["row"], row["column"]): row for row in csv.DictReader(file)}


def test_means_deviations_and_paired_intervals_by_hand(output, tmp_path):
    """Tags of 'other': 0.5 and 0.6, mean 0.55, deviation 0.0707; every query differs by 0.2: the interval is a point.

    Words: 1 against -1 on any resample with two values or more. STS mean is Words, the mean of both (0.55 - 1) / 2.
    """
    found = records(Rows.parse(VALUES, ""), output, tmp_path)
    tags = {key: float(found["other", "Tags"][key]) for key in ("mean", "deviation", "difference", "low", "high")}
    assert tags == pytest.approx({"mean": 0.55, "deviation": 0.070711, "difference": 0.2, "low": 0.2, "high": 0.2})
    assert float(found["other", "Words"]["difference"]) == -2.0
    assert float(found["other", "STS mean"]["mean"]) == -1.0
    assert float(found["other", "mean of both"]["mean"]) == pytest.approx(-0.225)


def test_the_table_marks_what_differs_from_the_reference(output, tmp_path):
    rows = Rows.parse(VALUES, "")
    records(rows, output, tmp_path)
    lines = (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| base", "| CoDiEmb", "| other", "| soup"]
    assert "(+0.200 … +0.200)*" in lines[4]
    assert "*" not in lines[5]
    assert "(" not in lines[3]


def test_the_committed_rows_are_valid():
    rows = Rows.of(ROOT)
    assert rows.reference == "codiemb"
    assert rows.rows["codiemb"].train == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": "none"}, "name of a row"),
        ({"merged": {"m": {"label": "m", "recipe": {"method": "uniform", "runs": ["nobody"]}}}}, "'nobody'"),
        ({"bootstrap": {"seed": 1, "resamples": 2, "level": 0.95}}, "resamples"),
    ],
)
def test_rows_that_do_not_fit_are_errors(change, message):
    with pytest.raises(InputError, match=message):
        Rows.parse({**VALUES, **change}, "rows.yaml")


def test_settings_are_flattened_for_the_command_line():
    assert flat({"sts": {"parts": {"pearson": None, "pro": {"weight": 0}}}, "seed": 3}, "train") == {
        "train.sts.parts.pearson": None,
        "train.sts.parts.pro.weight": 0,
        "train.seed": 3,
    }


def test_means_of_resamples_by_hand():
    draws = np.array([[0, 1, 2], [2, 2, 2]])
    assert resampled_scores(np.array([0.0, 0.3, 0.9]), None, draws).tolist() == pytest.approx([0.4, 0.9])


def test_rank_correlations_of_resamples_are_scipys_with_ties():
    generator = np.random.default_rng(1)
    cosines, gold = generator.random(30), (generator.random(30) * 5).round() / 5
    draws = generator.integers(0, 30, (20, 30))
    expected = [spearmanr(cosines[draw], gold[draw]).statistic for draw in draws]
    assert resampled_scores(cosines, gold, draws).tolist() == pytest.approx(expected)


def test_a_resample_of_one_pair_alone_scores_nothing():
    assert resampled_scores(np.array([0.1, 0.2]), np.array([0.0, 1.0]), np.array([[1, 1]])).tolist() == [0.0]


def test_the_interval_covers_the_true_difference_as_often_as_it_says():
    """Two models on 200 queries, the second better by 0.02 on average: 95 of 100 intervals should hold 0.02."""
    covered = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        first = generator.random(200)
        second = first + generator.normal(0.02, 0.1, 200)
        draws = generator.integers(0, 200, (300, 200))
        low, high = interval(resampled_scores(second, None, draws) - resampled_scores(first, None, draws), 0.95)
        covered += low <= 0.02 <= high
    assert 88 <= covered <= 100
