"""``python -m codiemb_pipeline.ablation``: ``train <row> <seed>``, ``evaluate <seed>``, ``table`` or ``queue``.

Works on the folders of the pipeline in the current directory: run ``dvc repro assemble`` first, or let
``conf/ablation/dvc.yaml`` do it.
"""

import json
import logging
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click

from codiemb_pipeline.ablation.rows import Rows, flat
from codiemb_pipeline.ablation.table import measure, write_table
from codiemb_pipeline.artifacts.merge import merged_name
from codiemb_pipeline.artifacts.train import TrainedRun
from codiemb_pipeline.bundle.use import with_bundle
from codiemb_pipeline.catalog_types import StageOutput, WorkFolder
from codiemb_pipeline.command import run
from codiemb_pipeline.encoder.checkpoint import base_folder
from codiemb_pipeline.errors import InputError, nearest
from codiemb_pipeline.evaluate.run import evaluate_models
from codiemb_pipeline.params import MergeParams, Params, TrainParams, run_params
from codiemb_pipeline.params.file import PARAMS_FILE, read_params
from codiemb_pipeline.pipelines.merge.nodes import merge
from codiemb_pipeline.pipelines.rim import draft
from codiemb_pipeline.train.run import train_encoder

MODELS = Path("data/06_models/ablation")
OUTPUT = Path("data/07_model_output/ablation")
MODEL_INPUT = Path("data/05_model_input/examples")
SOURCES = Path("data/02_intermediate/sources")
REPORTING = Path("data/08_reporting")


@click.group()
def main() -> None:
    """Compare losses, samplers and fusions on the pipeline's data."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")


@main.command()
@click.argument("row")
@click.argument("seed", type=int)
def train(row: str, seed: int) -> None:
    """Train one row with one seed into data/06_models/ablation/<seed>/<row>."""
    work = WorkFolder().load()
    values, out = _params(work), draft(work, f"ablation-{seed}-{row}")
    (out / "curves").mkdir()
    train_encoder(
        _training(values, Rows.of(Path()), row, seed),
        Params.parse(values).encoder,
        model_input=MODEL_INPUT,
        work=work,
        checkpoints=out,
        curves=out / "curves",
        run="ablation",
    )
    StageOutput(str(MODELS / str(seed) / row)).save(out)


@main.command()
@click.argument("seed", type=int)
def evaluate(seed: int) -> None:
    """Merge and evaluate all models of a seed into data/07_model_output/ablation/<seed>."""
    work, rows, runs = WorkFolder().load(), Rows.of(Path()), MODELS / str(seed)
    values = _params(work)
    params, trainings = Params.parse(values), {row: _training(values, rows, row, seed) for row in rows.rows}
    recipes = {name: entry.recipe for name, entry in rows.merged.items()}
    settings = {**params.merge.model_dump(mode="json"), "recipes": recipes}
    merge_params = MergeParams.parse(settings, "conf/ablation/rows.yaml: merged")
    merged = merge(merge_params, params.encoder, params.train, trainings, runs, MODEL_INPUT, work)
    models = {"base": base_folder(params.encoder)}
    models |= {row: runs / row / TrainedRun.of(runs / row).checkpoints[-1].name for row in rows.rows}
    models |= {merged_name(name): merged / name for name in rows.merged}
    out = draft(work, f"ablation-{seed}")
    without_geometry = params.evaluate.model_copy(update={"geometry": None})
    evaluate_models(without_geometry, params.encoder, models, SOURCES, work, out)
    shutil.copy(merged / "summary.json", out / "merged.json")
    shutil.rmtree(merged)
    StageOutput(str(OUTPUT / str(seed))).save(out)


@main.command()
def table() -> None:
    """Write the table of all evaluated seeds."""
    rows = Rows.of(Path())
    write_table(rows, measure(rows, OUTPUT), REPORTING / "ablation.csv", REPORTING / "ablation.md")
    click.echo((REPORTING / "ablation.md").read_text(encoding="utf-8"))


@main.command()
@click.argument("seeds", type=int, nargs=-1, required=True)
def queue(seeds: tuple[int, ...]) -> None:
    """Queue each row with each seed as an experiment of the whole pipeline; ``dvc exp run --run-all`` runs them."""
    for seed in seeds:
        for name, row in Rows.of(Path()).rows.items():
            changes = {**flat(row.train, "train"), "train.seed": seed}
            settings = [part for key, value in changes.items() for part in ("-S", f"{key}={json.dumps(value)}")]
            command = ["dvc", "exp", "run", "--queue", "--name", f"{name}-seed{seed}".replace("_", "-"), *settings]
            click.echo(" ".join(command))
            subprocess.run(command, check=True)


def _params(work: Path) -> dict[str, Any]:
    return with_bundle(read_params(PARAMS_FILE), work)


def _training(values: dict[str, Any], rows: Rows, row: str, seed: int) -> TrainParams:
    if row not in rows.rows:
        raise InputError(f"no row {row!r} in conf/ablation/rows.yaml{nearest(row, rows.rows)}")
    return run_params(values["train"], {**rows.rows[row].train, "seed": seed}, row)


if __name__ == "__main__":
    run(main)
