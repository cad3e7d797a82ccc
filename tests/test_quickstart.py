import os
import subprocess
from pathlib import Path

import pandas as pd

from codiemb_pipeline.quickstart import prepare_dvc, result_table


def test_the_table_shows_each_score_and_its_difference_to_base():
    rows = [
        {"model": "base", "benchmark": "A", "score": "0.5", "difference_to_base": "0.0"},
        {"model": "merged-uniform", "benchmark": "A", "score": "0.625", "difference_to_base": "0.125"},
    ]
    lines = [line.split() for line in result_table(pd.DataFrame(rows)).splitlines()]
    assert lines == [["A"], ["base", "0.500"], ["merged-uniform", "0.625", "(+0.125)"]]


def test_without_git_dvc_is_told_to_do_without(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n")
    prepare_dvc()
    assert "no_scm = true" in (tmp_path / ".dvc/config.local").read_text()


def test_in_a_git_repository_nothing_is_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"})
    prepare_dvc()
    assert not Path(".dvc/config.local").exists()
