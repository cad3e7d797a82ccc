"""A whole run that never happened, for every test of the report."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # whatever import mode pytest runs in

from fake_report_run import build_fake_run, fake_facts

from codiemb_pipeline.report.inputs import ReportInputs, RunFacts


@pytest.fixture
def inputs(tmp_path: Path) -> ReportInputs:
    return build_fake_run(tmp_path / "run")


@pytest.fixture(scope="session")
def facts() -> RunFacts:
    return fake_facts()
