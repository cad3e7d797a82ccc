"""``python -m codiemb_pipeline.ablation``: ``train <row> <seed>``, ``evaluate <seed>``, ``table`` or ``queue``."""

from __future__ import annotations

import json
import logging
import subprocess
from pathlib import Path

import click

from codiemb_pipeline.ablation.rows import flat, read_rows
from codiemb_pipeline.command import run


@click.group()
def main() -> None:
    """Compare losses, samplers and fusions on the pipeline's data."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")


@main.command()
@click.argument("row")
@click.argument("seed", type=int)
def train(row: str, seed: int) -> None:
    """Train one row with one seed."""
    from codiemb_pipeline.ablation.run import train_row

    train_row(row, seed)


@main.command()
@click.argument("seed", type=int)
def evaluate(seed: int) -> None:
    """Merge and evaluate all models of a seed."""
    from codiemb_pipeline.ablation.run import evaluate_seed

    evaluate_seed(seed)


@main.command()
def table() -> None:
    """Write the table of all evaluated seeds."""
    from codiemb_pipeline.ablation.run import OUTPUT
    from codiemb_pipeline.ablation.table import measure, write_table

    rows, reporting = read_rows(Path()), Path("data/08_reporting")
    write_table(rows, measure(rows, OUTPUT), reporting / "ablation.csv", reporting / "ablation.md")
    click.echo((reporting / "ablation.md").read_text(encoding="utf-8"))


@main.command()
@click.argument("seeds", type=int, nargs=-1, required=True)
def queue(seeds: tuple[int, ...]) -> None:
    """Queue each row with each seed as an experiment of the whole pipeline; ``dvc exp run --run-all`` runs them."""
    for seed in seeds:
        for name, row in read_rows(Path()).rows.items():
            changes = {**flat(row.train, "train"), "train.seed": seed}
            settings = [part for key, value in changes.items() for part in ("-S", f"{key}={json.dumps(value)}")]
            command = ["dvc", "exp", "run", "--queue", "--name", f"{name}-seed{seed}".replace("_", "-"), *settings]
            click.echo(" ".join(command))
            subprocess.run(command, check=True)


if __name__ == "__main__":
    run(main)
