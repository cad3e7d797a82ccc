"""Scores as tables, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
from fake_report_run import benchmark, evaluation_summary

from codiemb_pipeline.artifacts.evaluate import EvaluationSummary
from codiemb_pipeline.report.results import (
    best_of_each_column,
    differences,
    read_results,
    results_table,
    with_means,
)

SCORES = {
    "base": {"A": 0.40, "B": 0.50, "C": 0.70, "D": 0.30},
    "merged-uniform": {"A": 0.45, "B": 0.66, "C": 0.68, "D": 0.36},
    "merged-greedy": {"A": 0.4504, "B": 0.60, "C": 0.70, "D": None},
}


def summary(source_of_c: str | None = "three") -> EvaluationSummary:
    """Return three models on two benchmarks of sources trained on (A, B), and two of others (C, D)."""
    benchmarks = {
        "A": benchmark("retrieval", "one"),
        "B": benchmark("sts", "two"),
        "C": benchmark("sts", source_of_c),
        "D": benchmark("retrieval", "four"),
    }
    return evaluation_summary(SCORES, benchmarks, ["C", "A", "B", "D"])


def test_means_are_over_the_sources_trained_on_and_transfer_stands_apart() -> None:
    """Uniform: ir 0.45, sts 0.66, both (0.45 + 0.66) / 2 = 0.555, transfer (0.68 + 0.36) / 2 = 0.52."""
    table = with_means(read_results(summary(), ["one", "two"]))
    assert list(table) == ["A", "B", "mean ir", "mean sts", "mean both", "C", "D", "mean transfer"]
    assert table.loc["merged-uniform"].tolist() == pytest.approx([0.45, 0.66, 0.45, 0.66, 0.555, 0.68, 0.36, 0.52])


def test_the_mean_of_both_weighs_the_tasks_alike_whatever_their_numbers_of_benchmarks() -> None:
    """With C trained on too, sts is (0.66 + 0.68) / 2 = 0.67 and both (0.45 + 0.67) / 2 = 0.56."""
    table = with_means(read_results(summary(), ["one", "two", "three"]))
    assert table.at["merged-uniform", "mean both"] == pytest.approx(0.56)


def test_a_mean_over_a_missing_score_is_missing() -> None:
    table = with_means(read_results(summary(), ["one", "two"]))
    assert math.isnan(table.at["merged-greedy", "mean transfer"])


def test_differences_are_to_base() -> None:
    change = differences(with_means(read_results(summary(), ["one", "two"])))
    assert change.at["merged-uniform", "B"] == pytest.approx(0.16)
    assert change.at["merged-uniform", "mean transfer"] == pytest.approx(0.02)
    assert change.loc["base"].tolist() == [0.0] * 8


def test_without_base_there_are_no_differences() -> None:
    values = summary().model_copy(update={"model_order": ["merged-uniform"]})
    assert differences(read_results(values, ["one"]).scores).isna().all().all()


def test_the_best_is_marked_at_the_decimals_shown() -> None:
    """A: 0.4500 and 0.4504 both show as 0.450, so both are best; C: base and greedy share 0.70."""
    best = best_of_each_column(with_means(read_results(summary(), ["one", "two"])))
    assert best["A"].tolist() == [False, True, True]
    assert best["B"].tolist() == [False, True, False]
    assert best["C"].tolist() == [True, False, True]
    assert best["D"].tolist() == [False, True, False]


def test_a_benchmark_without_a_source_is_not_called_transfer() -> None:
    assert read_results(summary(source_of_c=None), ["one", "two"]).transfer == ("D",)


def test_nothing_is_called_transfer_when_all_would_be() -> None:
    assert read_results(summary(), ["other"]).transfer == ()


def test_results_csv_has_a_row_for_each_model_and_benchmark() -> None:
    table = results_table(read_results(summary(), ["one", "two"]))
    assert list(table) == ["model", "benchmark", "type", "metric", "score", "difference_to_base"]
    assert len(table) == 3 * 4
    row = table[(table["model"] == "merged-uniform") & (table["benchmark"] == "C")].iloc[0]
    assert row["type"] == "sts"
    assert row["metric"] == "cosine_spearman"
    assert row["score"] == pytest.approx(0.68)
    assert row["difference_to_base"] == pytest.approx(-0.02)
