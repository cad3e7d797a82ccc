"""What the page shows of the audit."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest
from fake_contamination import fake_contamination, finding

from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.params import ReportParams
from codiemb_pipeline.report.facts import RunFacts
from codiemb_pipeline.report.inputs import ReportInputs
from codiemb_pipeline.report.report import write_report
from codiemb_pipeline.report.sections_stages import audit_content


@pytest.fixture
def data_section(inputs: ReportInputs, facts: RunFacts, params: ReportParams, tmp_path: Path):
    def data_section(report: dict[str, Any] | None) -> str:
        if report is None:
            inputs.contamination.unlink()
        else:
            write_json(inputs.contamination, report)
        write_report(params, facts, inputs, tmp_path / "out")
        page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
        section = re.search(r'<section id="data">(.*?)</section>', page, flags=re.DOTALL)
        return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", section.group(1))))

    return data_section


def test_counts_are_summed_per_source_and_benchmark_and_shared_ones_kept_apart():
    content = audit_content(fake_contamination())
    rows = [(row["names"], row["counts"]["query"], row["counts"]["sentence"], row["shared"]) for row in content["rows"]]
    assert rows == [
        (("semanlink", "SemanlinkTags"), [4, 50], [0, 0], [1553, 21]),
        (("simlex999", "SimLex999"), [0, 0], [278, 0], [0, 0]),
    ]  # fmt: skip
    assert content["clean"] == 2 * 4 - 2


def test_a_pairing_with_shared_documents_alone_is_clean():
    shared = finding("semanlink", "SemanlinkTags", "positive", "document", (9, 0, 9), shared=True)
    content = audit_content(fake_contamination(findings=[shared]))
    assert content["clean"] == 8
    assert content["rows"][0]["shared"] == [9, 0]


def test_the_page_shows_counts_and_samples(data_section):
    text = data_section(fake_contamination())
    assert "semanlink SemanlinkTags 4 + 50 0 + 0 0 + 0 0 + 0 1,553 + 21" in text
    assert "semanlink, query, in SemanlinkTags, queries: 0 equal, 39 nearly equal; 27 of the benchmark’s 458" in text
    assert (
        "in SemanlinkTags, documents, shared by design: 1,553 equal, 21 nearly equal; 1,575 of the benchmark’s 2,350"
        in text
    )
    assert "Deep neural networks Deep social networks 0.52 0.50" in text
    assert "money Money equal –" in text
    assert "Nothing was removed from training." in text
    assert "Removed" not in text


def test_the_page_shows_what_was_removed(data_section):
    removed = {"semanlink": {"SemanlinkTags": {"examples": 12, "negatives": 3}}}
    text = data_section(fake_contamination(mode="drop", removed=removed))
    assert "The queries, documents and pairs found were removed from training." in text
    assert "semanlink SemanlinkTags 12 0 3" in text


def test_the_page_counts_combinations_without_a_finding(data_section):
    text = data_section(fake_contamination(findings=[]))
    assert "8 combinations of source and benchmark have no finding." in text
    assert "with samples" not in text


def test_the_page_shows_that_the_audit_was_off(data_section):
    assert "Not checked, because assemble.audit.mode is off." in data_section({"mode": "off"})


def test_a_missing_audit_is_shown_as_absent_within_the_section(data_section):
    text = data_section(None)
    assert "contamination.json was not found; stage assemble writes it." in text
    assert "Judgements" in text
