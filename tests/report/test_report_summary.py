"""The model that represents the run, its headline numbers and its summary."""

from __future__ import annotations

import pytest
from fake_report_run import benchmark, evaluation_summary

from codiemb_pipeline.artifacts.merge import Base, BestCheckpoint, MergedModel, MergeSummary
from codiemb_pipeline.report.inputs import AbsentError
from codiemb_pipeline.report.results import Choice, Results, choose_merged, headline_metrics, read_results
from codiemb_pipeline.report.summary import Summary, summarise

SOURCES = {"Tags": "tags", "Words": "words", "Other": "other"}


def results(**scores: list[float]) -> Results:
    """Return models on Tags (ir) and Words (sts), trained on, and Other (sts), transfer."""
    models = {name.replace("_", "-", 1): dict(zip(SOURCES, row, strict=True)) for name, row in scores.items()}
    benchmarks = {name: benchmark("retrieval" if name == "Tags" else "sts", source) for name, source in SOURCES.items()}
    return read_results(evaluation_summary(models, benchmarks), ["tags", "words"])


def merged(best_checkpoint: float = 0.5, **devs: float) -> MergeSummary:
    shared = {"method": "", "params": {}, "layers": [], "weights_sum_to_one": True, "candidates": [], "ingredients": []}
    methods = {name: MergedModel(dev=dev, **shared) for name, dev in sorted(devs.items())}
    best = BestCheckpoint(name="main/step-000090", dev=best_checkpoint)
    return MergeSummary(base=Base(sha256=""), candidates=[], best_checkpoint=best, order=list(devs), methods=methods)


BOTH_UP = {"base": [0.40, 0.50, 0.70], "merged_uniform": [0.47, 0.65, 0.69], "merged_greedy": [0.60, 0.80, 0.90]}


def summary_of(*, dev: dict[str, float], best_checkpoint: float = 0.5, **scores: list[float]) -> Summary:
    table, summary = results(**scores), merged(best_checkpoint, **dev)
    return summarise(table, choose_merged(summary, table), summary)


def test_the_choice_looks_at_dev_and_not_at_test() -> None:
    choice = choose_merged(merged(uniform=0.6, greedy=0.5), results(**BOTH_UP))
    assert choice == Choice(model="merged-uniform", dev=0.6)


def test_of_equals_the_first_recipe_is_chosen() -> None:
    assert choose_merged(merged(uniform=0.6, greedy=0.6), results(**BOTH_UP)).model == "merged-uniform"


def test_a_merged_model_that_was_not_evaluated_cannot_be_chosen() -> None:
    choice = choose_merged(merged(uniform=0.6, delta_guided=0.9), results(**BOTH_UP))
    assert choice.model == "merged-uniform"
    with pytest.raises(AbsentError, match="No merged model"):
        choose_merged(merged(uniform=0.6), results(base=[0.4, 0.5, 0.7]))


def test_headline_metrics_are_eight_at_most_and_of_the_chosen_model() -> None:
    """Uniform: ir 0.47 (+0.07), sts 0.65 (+0.15), mean 0.56 (+0.11), transfer 0.69 (-0.01)."""
    numbers = headline_metrics(results(**BOTH_UP), Choice(model="merged-uniform", dev=0.6))
    assert numbers == {
        "ir_ndcg_at_10": 0.47,
        "ir_gain": 0.07,
        "sts_cosine_spearman": 0.65,
        "sts_gain": 0.15,
        "mean": 0.56,
        "mean_gain": 0.11,
        "transfer": 0.69,
        "transfer_gain": -0.01,
    }


def test_without_base_the_gains_are_left_out() -> None:
    numbers = headline_metrics(results(merged_uniform=[0.47, 0.65, 0.69]), Choice(model="merged-uniform", dev=0.6))
    assert set(numbers) == {"ir_ndcg_at_10", "sts_cosine_spearman", "mean", "transfer"}


@pytest.mark.parametrize(
    ("chosen", "headline"),
    [
        ([0.47, 0.65, 0.69], "Better than base at both tasks"),
        ([0.39, 0.49, 0.69], "Worse than base at both tasks"),
        ([0.47, 0.49, 0.69], "Better than base at retrieval, worse than base at similarity"),
        ([0.40, 0.65, 0.69], "Better than base at similarity, unchanged at retrieval"),
        ([0.4004, 0.4996, 0.69], "Neither better nor worse than base"),
    ],
)
def test_the_headline_is_honest(chosen: list[float], headline: str) -> None:
    found = summary_of(dev={"uniform": 0.6}, base=[0.40, 0.50, 0.70], merged_uniform=chosen)
    assert found.headline == headline


def test_the_sentences_hold_the_numbers() -> None:
    text = " ".join(summary_of(dev={"uniform": 0.6, "greedy": 0.5}, **BOTH_UP).sentences)
    assert "nDCG@10 +0.070 in retrieval (0.400 → 0.470)" in text
    assert "Spearman +0.150 in similarity (0.500 → 0.650)" in text
    assert "loses 0.010: Other −0.010" in text


def test_a_model_with_a_higher_test_score_is_reported() -> None:
    """Greedy: mean (0.6 + 0.8) / 2 = 0.70; uniform 0.56; 0.14 ahead."""
    text = " ".join(summary_of(dev={"uniform": 0.6, "greedy": 0.5}, **BOTH_UP).sentences)
    assert "merged-greedy scores 0.140 higher" in text


def test_a_best_checkpoint_above_the_merged_model_is_reported() -> None:
    lost = summary_of(dev={"uniform": 0.6}, best_checkpoint=0.62, base=[0.4, 0.5, 0.7], merged_uniform=[0.4, 0.5, 0.7])
    assert "0.600, is 0.020 below" in lost.sentences[-1]
    assert "step 90" in lost.sentences[-1]
