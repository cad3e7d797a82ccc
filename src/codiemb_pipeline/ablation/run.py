"""Trains one row with one seed, and evaluates all models of a seed.

Works on the folders of the pipeline in the current directory: run ``dvc repro assemble`` first, or let
``conf/ablation/dvc.yaml`` do it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from codiemb_pipeline.ablation.rows import Rows, read_rows
from codiemb_pipeline.artifacts.merge import merged_name
from codiemb_pipeline.artifacts.train import TrainedRun
from codiemb_pipeline.bundle.use import with_bundle
from codiemb_pipeline.encoder.checkpoint import base_folder, load_encoder
from codiemb_pipeline.evaluate.run import evaluate_models
from codiemb_pipeline.locations import work_folder
from codiemb_pipeline.merge.merge import merge_checkpoints
from codiemb_pipeline.params import EncoderParams, MergeParams, Params, run_params
from codiemb_pipeline.scoring.dev import score_encoder
from codiemb_pipeline.train.run import train_encoder

MODELS = Path("data/06_models/ablation")
OUTPUT = Path("data/07_model_output/ablation")
MODEL_INPUT = Path("data/05_model_input/examples")
SOURCES = Path("data/02_intermediate/sources")


def train_row(row: str, seed: int) -> None:
    """Train row ``row`` with ``seed`` into ``data/06_models/ablation/<seed>/<row>``."""
    values, rows = _params(), read_rows(Path())
    overrides = {**rows.rows[row].train, "seed": seed}
    draft = _draft(f"ablation-{seed}-{row}")
    (draft / "curves").mkdir()
    train_encoder(
        run_params(values["train"], overrides, row),
        EncoderParams.parse(values["encoder"], "encoder"),
        model_input=MODEL_INPUT,
        work=_work(),
        checkpoints=draft,
        curves=draft / "curves",
    )
    _put(draft, MODELS / str(seed) / row)


def evaluate_seed(seed: int) -> None:
    """Merge and evaluate all models of ``seed`` into ``data/07_model_output/ablation/<seed>``."""
    values, rows = Params.parse(_params()), read_rows(Path())
    runs, draft = MODELS / str(seed), _draft(f"ablation-{seed}")
    base = base_folder(values.encoder)

    def score(folder: Path) -> float:
        encoder = load_encoder(values.encoder, folder)
        return score_encoder(encoder, MODEL_INPUT, tokens_per_chunk=values.train.chunk.tokens)["mean"]

    merge_checkpoints(_recipes(values.merge, rows), list(rows.rows), runs, score, draft / "merged")
    models = {"base": base}
    models |= {row: runs / row / TrainedRun.of(runs / row).checkpoints[-1].name for row in rows.rows}
    models |= {merged_name(name): draft / "merged" / name for name in rows.merged}
    out = draft / "evaluation"
    out.mkdir()
    evaluate_models(
        values.evaluate.model_copy(update={"geometry": None}), values.encoder, models, SOURCES, _work(), out
    )
    shutil.copy(draft / "merged" / "summary.json", out / "merged.json")
    _put(out, OUTPUT / str(seed))
    shutil.rmtree(draft)


def _recipes(merge: MergeParams, rows: Rows) -> MergeParams:
    recipes = {name: entry.recipe for name, entry in rows.merged.items()}
    return MergeParams.parse({**merge.model_dump(mode="json"), "recipes": recipes}, "conf/ablation/rows.yaml: merged")


def _params() -> dict[str, Any]:
    return with_bundle(yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8")), _work())


def _work() -> Path:
    work = work_folder()
    work.mkdir(parents=True, exist_ok=True)
    return work


def _draft(name: str) -> Path:
    folder = _work() / "drafts" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _put(draft: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    shutil.move(draft, target)
