"""Commands as a user types them: help without side effects, and faults in one line."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from codiemb_pipeline import command

ROOT = Path(__file__).parents[1]
COMMANDS = ["quickstart", "profiles", "check_encoder", "watch", "join"]
COMMANDS += [f"{package}.__main__" for package in ("plan", "bundle", "ablation")]


@pytest.mark.parametrize("module", COMMANDS)
def test_every_command_has_help_that_starts_nothing(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(import_module(f"codiemb_pipeline.{module}").main, ["--help"])
    assert ended.exit_code == 0
    assert ended.output.startswith("Usage: ")
    assert not list(tmp_path.iterdir())


def run(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def test_the_package_is_kedro_run(tmp_path):
    ended = run(sys.executable, "-m", "codiemb_pipeline", "--help")
    assert ended.returncode == 0
    assert "Usage: kedro run" in ended.stdout
    ended = run(sys.executable, "-m", "codiemb_pipeline", "--pipelines=nope")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    ended = run(sys.executable, "-m", "codiemb_pipeline", folder=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(str(tmp_path))


def test_outside_a_project_the_quickstart_says_so(tmp_path):
    ended = run(sys.executable, "-m", "codiemb_pipeline.quickstart", folder=tmp_path)
    assert ended.returncode == 1
    assert str(tmp_path) in ended.stderr
    assert "Traceback" not in ended.stderr


def test_make_help_lists_every_target_for_users():
    listed = run("make", "help").stdout
    phony = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY"))
    assert {*phony.split()[1:]} - {"install", "lint"} <= {line.split()[1] for line in listed.splitlines()}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device", "params.yaml.1"), click.Abort()])
def test_a_command_ends_without_a_traceback(error):
    @click.command()
    def fail() -> None:
        raise error

    fail.main = lambda **_: fail.callback()
    with pytest.raises(SystemExit) as ended:
        command.run(fail)
    assert ended.value.code not in (0, None)
