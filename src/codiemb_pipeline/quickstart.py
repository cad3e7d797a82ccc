"""``make quickstart``: runs the pipeline with DVC and shows the results; works without git too."""

import subprocess
import sys
from pathlib import Path

import click
import pandas as pd

from codiemb_pipeline.command import run
from codiemb_pipeline.dvc_lock import is_whole, restore
from codiemb_pipeline.errors import InputError

REPORT, RESULTS = Path("data/08_reporting/report.html"), Path("data/08_reporting/results.csv")


def prepare_dvc() -> None:
    """Tell DVC to do without git where the folder is no git repository (an unpacked archive)."""
    inside = subprocess.run(["git", "rev-parse", "--is-inside-work-tree"], capture_output=True, check=False)
    if inside.returncode == 0 and Path(".git").exists():
        return
    subprocess.run(["dvc", "config", "--local", "core.no_scm", "true"], check=True)


def result_table(results: pd.DataFrame) -> str:
    """Return models by benchmarks as text, with the difference to base behind each score."""
    scores, differences = (results[name].astype(float) for name in ("score", "difference_to_base"))
    shown = differences.notna() & (results["model"] != "base")
    cells = scores.map("{:.3f}".format) + differences.map(" ({:+.3f})".format).where(shown, "")
    table = results.assign(cell=cells).pivot(index="model", columns="benchmark", values="cell").fillna("-")
    table = table.reindex(index=results["model"].unique(), columns=results["benchmark"].unique())
    return table.rename_axis(index=None, columns=None).to_string()


@click.command()
def main() -> None:
    """Run the pipeline (dvc repro), then print the table of results and the path of the report."""
    if not Path("dvc.yaml").is_file():
        raise InputError(f"{Path.cwd()}: expected the project's folder, with dvc.yaml; run this there")
    prepare_dvc()
    if not is_whole():
        click.echo(restore())
    if code := subprocess.run(["dvc", "repro"], check=False).returncode:
        sys.exit(code)
    click.echo(f"\n{result_table(pd.read_csv(RESULTS))}\n\nreport: {REPORT.absolute()}")


if __name__ == "__main__":
    run(main)
