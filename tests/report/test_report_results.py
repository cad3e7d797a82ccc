"""Scores as tables, the model that represents the run, headline numbers and summary, against numbers made by hand."""

import math
import re

import pytest
from fake_report_run import benchmark, evaluation_summary, render_page

from codiemb_pipeline.artifacts.evaluate import BenchmarkFacts, EvaluationSummary
from codiemb_pipeline.artifacts.merge import Base, BestCheckpoint, MergedModel, MergeSummary
from codiemb_pipeline.benchmarks.registry import BENCHMARKS
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.report.inputs import AbsentError
from codiemb_pipeline.report.results import (
    Choice,
    Results,
    Summary,
    best_of_each_column,
    choose_merged,
    headline_metrics,
    published_rows,
    read_results,
    results_content,
    results_table,
    summarise,
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


def test_means_are_over_the_sources_trained_on_and_transfer_stands_apart():
    """Uniform: ir 0.45, sts 0.66, both (0.45 + 0.66) / 2 = 0.555, transfer (0.68 + 0.36) / 2 = 0.52."""
    table = read_results(summary(), ["one", "two"]).table
    assert list(table) == ["A", "B", "mean ir", "mean sts", "mean both", "C", "D", "mean transfer"]
    assert table.loc["merged-uniform"].tolist() == pytest.approx([0.45, 0.66, 0.45, 0.66, 0.555, 0.68, 0.36, 0.52])
    assert math.isnan(table.at["merged-greedy", "mean transfer"])  # a mean over a missing score is missing


def test_the_mean_of_both_weighs_the_tasks_alike_whatever_their_numbers_of_benchmarks():
    """With C trained on too, sts is (0.66 + 0.68) / 2 = 0.67 and both (0.45 + 0.67) / 2 = 0.56."""
    table = read_results(summary(), ["one", "two", "three"]).table
    assert table.at["merged-uniform", "mean both"] == pytest.approx(0.56)


def test_differences_are_to_base_and_unknown_without_it():
    change = read_results(summary(), ["one", "two"]).change
    assert change.at["merged-uniform", "B"] == pytest.approx(0.16)
    assert change.at["merged-uniform", "mean transfer"] == pytest.approx(0.02)
    assert change.loc["base"].tolist() == [0.0] * 8
    values = summary().model_copy(update={"model_order": ["merged-uniform"]})
    assert read_results(values, ["one"]).change.isna().all().all()


def test_the_best_is_marked_at_the_decimals_shown():
    """A: 0.4500 and 0.4504 both show as 0.450, so both are best; C: base and greedy share 0.70."""
    best = best_of_each_column(read_results(summary(), ["one", "two"]).table)
    assert best["A"].tolist() == [False, True, True]
    assert best["B"].tolist() == [False, True, False]
    assert best["C"].tolist() == [True, False, True]
    assert best["D"].tolist() == [False, True, False]


def test_a_benchmark_without_a_source_is_not_called_transfer_nor_is_any_when_all_would_be():
    assert read_results(summary(source_of_c=None), ["one", "two"]).transfer == ("D",)
    assert read_results(summary(), ["other"]).transfer == ()


def test_results_csv_has_a_row_for_each_model_and_benchmark():
    table = results_table(read_results(summary(), ["one", "two"]))
    assert list(table) == ["model", "benchmark", "type", "metric", "score", "difference_to_base"]
    assert len(table) == 3 * 4
    row = table[(table["model"] == "merged-uniform") & (table["benchmark"] == "C")].iloc[0]
    assert row.tolist() == ["merged-uniform", "C", "sts", "cosine_spearman", 0.68, -0.02]


SOURCES = {"Tags": "tags", "Words": "words", "Other": "other"}


def results(**scores: list[float]) -> Results:
    """Return models on Tags (ir) and Words (sts), trained on, and Other (sts), transfer."""
    models = {name.replace("_", "-", 1): dict(zip(SOURCES, row, strict=True)) for name, row in scores.items()}
    benchmarks = {name: benchmark("retrieval" if name == "Tags" else "sts", source) for name, source in SOURCES.items()}
    return read_results(evaluation_summary(models, benchmarks), ["tags", "words"])


def merged(best_checkpoint: float = 0.5, **devs: float) -> MergeSummary:
    shared = {
        "method": "",
        "description": "",
        "params": {},
        "layers": [],
        "weights_sum_to_one": True,
        "candidates": [],
        "ingredients": [],
    }
    methods = {name: MergedModel(dev=dev, **shared) for name, dev in sorted(devs.items())}
    best = BestCheckpoint(name="main/step-000090", dev=best_checkpoint)
    return MergeSummary(base=Base(sha256=""), candidates=[], best_checkpoint=best, order=list(devs), methods=methods)


BOTH_UP = {"base": [0.40, 0.50, 0.70], "merged_uniform": [0.47, 0.65, 0.69], "merged_greedy": [0.60, 0.80, 0.90]}
UNIFORM = Choice(recipe="uniform", dev=0.6)


def summary_of(*, dev: dict[str, float], best_checkpoint: float = 0.5, **scores: list[float]) -> Summary:
    table, merging = results(**scores), merged(best_checkpoint, **dev)
    return summarise(table, choose_merged(merging, table), merging)


@pytest.mark.parametrize(
    "devs", [{"uniform": 0.6, "greedy": 0.5}, {"uniform": 0.6, "greedy": 0.6}, {"uniform": 0.6, "delta_guided": 0.9}]
)
def test_the_best_on_dev_of_those_evaluated_is_chosen_and_the_first_of_equals(devs):
    """Greedy is best on test; delta_guided was not evaluated."""
    choice = choose_merged(merged(**devs), results(**BOTH_UP))
    assert choice == UNIFORM
    assert choice.model == "merged-uniform"


def test_a_merged_model_that_was_not_evaluated_cannot_be_chosen():
    with pytest.raises(AbsentError, match="No merged model"):
        choose_merged(merged(uniform=0.6), results(base=[0.4, 0.5, 0.7]))


def test_headline_metrics_are_eight_at_most_and_of_the_chosen_model():
    """Uniform: ir 0.47 (+0.07), sts 0.65 (+0.15), mean 0.56 (+0.11), transfer 0.69 (-0.01)."""
    scores = {"ir_ndcg_at_10": 0.47, "sts_cosine_spearman": 0.65, "mean": 0.56, "transfer": 0.69}
    gains = {"ir_gain": 0.07, "sts_gain": 0.15, "mean_gain": 0.11, "transfer_gain": -0.01}
    assert headline_metrics(results(**BOTH_UP), UNIFORM) == scores | gains
    assert headline_metrics(results(merged_uniform=[0.47, 0.65, 0.69]), UNIFORM) == scores  # without base, no gains


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
def test_the_headline_is_honest(chosen, headline):
    found = summary_of(dev={"uniform": 0.6}, base=[0.40, 0.50, 0.70], merged_uniform=chosen)
    assert found.headline == headline


def test_the_sentences_hold_the_numbers():
    """Greedy is ahead on test: mean (0.6 + 0.8) / 2 = 0.70, uniform 0.56."""
    text = " ".join(summary_of(dev={"uniform": 0.6, "greedy": 0.5}, **BOTH_UP).sentences)
    assert "nDCG@10 +0.070 in retrieval (0.400 → 0.470)" in text
    assert "Spearman +0.150 in similarity (0.500 → 0.650)" in text
    assert "loses 0.010: Other −0.010" in text
    assert "merged-greedy scores 0.140 higher" in text


def test_a_best_checkpoint_above_the_merged_model_is_reported():
    lost = summary_of(dev={"uniform": 0.6}, best_checkpoint=0.62, base=[0.4, 0.5, 0.7], merged_uniform=[0.4, 0.5, 0.7])
    assert "0.600, is 0.020 below" in lost.sentences[-1]
    assert "step 90" in lost.sentences[-1]


MINI = {"retrieval": {"queries": 12, "documents": 40}, "sts": {"pairs": 30}}
MODELS = ["base", "main/step-000180", "merged-uniform", "merged-greedy", "merged-delta_guided"]
TAGS = benchmark("retrieval", "semanlink")
ALL = list(BENCHMARKS)


def paper_summary(names: list[str], full: list[str], **local: BenchmarkFacts) -> EvaluationSummary:
    """Return the evaluation of ``names``, of which ``full`` were run on all rows: base scores 0.5, the others 0.6."""
    facts: dict[str, BenchmarkFacts] = {}
    for name in names:
        spec = BENCHMARKS[name]
        size = spec.size if name in full else MINI[spec.type]
        facts[name] = benchmark(spec.type, hub_id=spec.hub_id, revision=spec.revision, full=name in full, size=size)
    facts |= local
    return evaluation_summary({m: dict.fromkeys(facts, 0.5 if m == "base" else 0.6) for m in MODELS}, facts)


def paper_results(names: list[str], full: list[str], **local: BenchmarkFacts) -> Results:
    return read_results(paper_summary(names, full, **local), ["semanlink"])


def test_published_scores_and_their_means_stand_under_the_columns_of_ours():
    """The reference: 70.46 and 54.44 for bge-large-zh-v1.5, 80.21 and 68.82 for Youtu-Embedding."""
    found = paper_results(ALL, ALL)
    table = published_rows(found)
    assert list(table) == list(found.table)
    assert table.at["bge-large-zh-v1.5", "T2Retrieval"] == pytest.approx(0.8399)
    assert table.at["Youtu-Embedding", "QBQTC"] == pytest.approx(0.5560)
    means = table.loc[:, ["mean ir", "mean sts"]]
    assert means.loc["bge-large-zh-v1.5"].tolist() == pytest.approx([0.7046, 0.5444], abs=6e-5)
    assert means.loc["Youtu-Embedding"].tolist() == pytest.approx([0.8021, 0.6882], abs=6e-5)
    over_tasks = (8 * means["mean ir"] + 7 * means["mean sts"]) / 15
    assert table["mean of tasks"].tolist() == pytest.approx(over_tasks.tolist())


def test_beside_cut_data_nothing_published_is_shown_and_its_size_is_given():
    found = paper_results(["DuRetrieval", "AFQMC"], ["AFQMC"])
    table = published_rows(found)
    assert table["AFQMC"].tolist() == pytest.approx([0.4436, 0.7219])
    assert table[["DuRetrieval", "mean ir", "mean of tasks"]].isna().all().all()
    content = results_content(found, None, None)
    assert content["published"] == ["bge-large-zh-v1.5", "Youtu-Embedding"]
    assert content["cut"] == {"DuRetrieval": "12 of 2,000 queries, 40 of 100,001 documents"}


def test_without_full_data_or_without_the_papers_benchmarks_there_is_no_published_row():
    for names, local in ((ALL, {}), ([], {"Tags": TAGS})):
        found = paper_results(names, [], **local)
        content = results_content(found, None, None)
        assert [row["model"] for row in content["rows"]] == MODELS
        assert (content["published"], list(content["cut"])) == ([], names)
        assert ("mean of tasks" in found.table) == bool(names)


@pytest.mark.parametrize(
    ("names", "local", "labels"),
    [
        (ALL, {}, ["retrieval, 8 tasks", "similarity, 7 tasks", "both", "all, 15 tasks"]),
        (["DuRetrieval", "BQ", "STSB"], {}, ["retrieval, 1 of 8 tasks", "similarity, 2 of 7 tasks", "both",
                                             "all, 3 of 15 tasks"]),
        (["BQ"], {}, ["similarity, 1 of 7 tasks", "all, 1 of 15 tasks"]),
        (["DuRetrieval"], {"Tags": TAGS}, ["retrieval", "all, 1 of 15 tasks"]),
    ],
)  # fmt: skip
def test_a_mean_over_tasks_of_the_paper_alone_is_labelled_with_their_number(names, local, labels):
    content = results_content(paper_results(names, [], **local), None, None)
    assert [column["below"] for column in content["columns"] if "mean" in column["css"]] == labels


def test_the_mean_of_tasks_weighs_every_task_alike():
    values = paper_summary(["DuRetrieval", "BQ", "STSB"], [])
    values.models["base"] |= {"DuRetrieval": 0.9, "BQ": 0.3, "STSB": 0.6}
    table = read_results(values, []).table
    assert table.at["base", "mean of tasks"] == pytest.approx(0.6)
    assert table.at["base", "mean both"] == pytest.approx((0.9 + 0.45) / 2)


def test_the_headline_numbers_have_the_mean_of_tasks():
    numbers = headline_metrics(paper_results(ALL, []), UNIFORM)
    assert (numbers["mean_of_15"], numbers["mean_of_15_gain"]) == pytest.approx((0.6, 0.1))
    assert len(numbers) == 8


def test_the_page_shows_published_rows_muted_and_out_of_the_contest(inputs, facts, tmp_path):
    paper_summary(ALL, ALL).write(inputs.evaluation / "summary.json")
    page = render_page(inputs, facts, tmp_path)
    rows = re.findall(r'<tr class="published">(.*?)</tr>', page, flags=re.DOTALL)
    names = [re.search(r'class="model">([^<]+)<small>published', row)[1] for row in rows]
    assert names == ["bge-large-zh-v1.5", "Youtu-Embedding"]
    assert "0.840" in rows[0]
    assert "score best" not in "".join(rows)
    lines = (tmp_path / "results.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(MODELS) * 15  # ours alone
    assert read_json(tmp_path / "metrics.json")["mean_of_15"] == pytest.approx(0.6)
