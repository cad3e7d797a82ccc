"""Published scores beside ours, and the means over the paper's tasks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_report_run import benchmark, evaluation_summary

from codiemb_pipeline.artifacts.evaluate import BenchmarkFacts, EvaluationSummary
from codiemb_pipeline.benchmarks.registry import BENCHMARKS
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params import ReportParams
from codiemb_pipeline.report.facts import RunFacts
from codiemb_pipeline.report.inputs import ReportInputs
from codiemb_pipeline.report.report import write_report
from codiemb_pipeline.report.results import (
    Choice,
    Results,
    headline_metrics,
    published_notes,
    published_rows,
    read_results,
    with_means,
)
from codiemb_pipeline.report.sections_results import results_content

MINI = {"retrieval": {"queries": 12, "documents": 40}, "sts": {"pairs": 30}}
MODELS = ["base", "main/step-000180", "merged-uniform", "merged-greedy", "merged-delta_guided"]
TAGS = benchmark("retrieval", "semanlink")


def summary(names: list[str], full: set[str], **local: BenchmarkFacts) -> EvaluationSummary:
    """Return the evaluation of ``names``, of which ``full`` were run on all rows: base scores 0.5, the others 0.6."""
    facts: dict[str, BenchmarkFacts] = {}
    for name in names:
        spec = BENCHMARKS[name]
        size = spec.size if name in full else MINI[spec.type]
        facts[name] = benchmark(spec.type, hub_id=spec.hub_id, revision=spec.revision, full=name in full, size=size)
    facts |= local
    return evaluation_summary({m: dict.fromkeys(facts, 0.5 if m == "base" else 0.6) for m in MODELS}, facts)


def results(names: list[str], full: set[str], **local: BenchmarkFacts) -> Results:
    return read_results(summary(names, full, **local), ["semanlink"])


ALL = list(BENCHMARKS)


def test_published_scores_and_their_means_stand_under_the_columns_of_ours():
    """The reference: 70.46 and 54.44 for bge-large-zh-v1.5, 80.21 and 68.82 for Youtu-Embedding."""
    found = results(ALL, set(ALL))
    table = published_rows(found)
    assert list(table) == list(with_means(found))
    assert table.at["bge-large-zh-v1.5", "T2Retrieval"] == pytest.approx(0.8399)
    assert table.at["Youtu-Embedding", "QBQTC"] == pytest.approx(0.5560)
    means = table.loc[:, ["mean ir", "mean sts"]]
    assert means.loc["bge-large-zh-v1.5"].tolist() == pytest.approx([0.7046, 0.5444], abs=6e-5)
    assert means.loc["Youtu-Embedding"].tolist() == pytest.approx([0.8021, 0.6882], abs=6e-5)
    over_tasks = (8 * means["mean ir"] + 7 * means["mean sts"]) / 15
    assert table["mean of tasks"].tolist() == pytest.approx(over_tasks.tolist())


def test_beside_cut_data_nothing_published_is_shown_and_the_page_says_why():
    found = results(["DuRetrieval", "AFQMC"], {"AFQMC"})
    table = published_rows(found)
    assert table["AFQMC"].tolist() == pytest.approx([0.4436, 0.7219])
    assert table["DuRetrieval"].isna().all()
    assert table["mean ir"].isna().all()
    assert table["mean of tasks"].isna().all()
    shown, why = published_notes(found)
    assert "bge-large-zh-v1.5 and Youtu-Embedding" in shown
    assert "DuRetrieval" in why
    assert "DuRetrieval: 12 of 2,000 queries, 40 of 100,001 documents" in why
    assert "AFQMC" not in why


def test_without_full_data_there_is_no_row():
    found = results(ALL, set())
    assert published_rows(found).empty
    (why,) = published_notes(found)
    assert all(name in why for name in ALL)


def test_benchmarks_of_sources_alone_show_nothing_of_the_paper():
    found = results([], set(), Tags=TAGS)
    assert published_rows(found).empty
    assert published_notes(found) == []
    assert "mean of tasks" not in with_means(found)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (ALL, ["retrieval, 8 tasks", "similarity, 7 tasks", "both", "all, 15 tasks"]),
        (["DuRetrieval", "BQ", "STSB"], ["retrieval, 1 of 8 tasks", "similarity, 2 of 7 tasks", "both",
                                         "all, 3 of 15 tasks"]),
        (["BQ"], ["similarity, 1 of 7 tasks", "all, 1 of 15 tasks"]),
    ],
)  # fmt: skip
def test_a_mean_is_labelled_with_the_number_of_the_paper_s_tasks(names: list[str], labels: list[str]):
    content = results_content(results(names, set()), None, None)
    assert [column["below"] for column in content["columns"] if column["mean"]] == labels


def test_a_mean_over_other_benchmarks_too_is_not_labelled_as_the_paper_s():
    content = results_content(results(["DuRetrieval"], set(), Tags=TAGS), None, None)
    assert [column["below"] for column in content["columns"] if column["mean"]] == ["retrieval", "all, 1 of 15 tasks"]


def test_the_mean_of_tasks_weighs_every_task_alike():
    values = summary(["DuRetrieval", "BQ", "STSB"], set())
    values.models["base"] |= {"DuRetrieval": 0.9, "BQ": 0.3, "STSB": 0.6}
    table = with_means(read_results(values, []))
    assert table.at["base", "mean of tasks"] == pytest.approx(0.6)
    assert table.at["base", "mean both"] == pytest.approx((0.9 + 0.45) / 2)


def test_the_headline_numbers_have_the_mean_of_tasks():
    numbers = headline_metrics(results(ALL, set()), Choice(model="merged-greedy", dev=0.5))
    assert (numbers["mean_of_15"], numbers["mean_of_15_gain"]) == pytest.approx((0.6, 0.1))
    assert len(numbers) == 8


def test_the_page_shows_published_rows_muted_and_out_of_the_contest(
    inputs: ReportInputs, facts: RunFacts, params: ReportParams, tmp_path: Path
):
    summary(ALL, set(ALL)).write(inputs.evaluation / "summary.json")
    write_report(params, facts, inputs, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    rows = re.findall(r'<tr class="published">(.*?)</tr>', page, flags=re.DOTALL)
    assert [re.search(r'class="model">([^<]+)<small>published', row).group(1) for row in rows] == [
        "bge-large-zh-v1.5",
        "Youtu-Embedding",
    ]
    assert "0.840" in rows[0]
    assert "score best" not in "".join(rows)
    lines = (tmp_path / "results.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(MODELS) * 15  # ours alone
    assert read_json(tmp_path / "metrics.json")["mean_of_15"] == pytest.approx(0.6)
