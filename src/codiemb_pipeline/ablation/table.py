"""The ablation's results as a table: mean and deviation over seeds, and intervals against the reference row."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from codiemb_pipeline.ablation.bootstrap import interval, resampled_scores
from codiemb_pipeline.ablation.rows import BootstrapParams, Rows
from codiemb_pipeline.artifacts.evaluate import EvaluationSummary, read_gold, read_items

# model -> benchmark or mean -> one score per seed, or per seed and resample
Scores = dict[str, dict[str, np.ndarray]]
MEANS = ("STS mean", "mean of both")


@dataclass(frozen=True)
class Measured:
    """Scores of every model: ``scores`` (seeds,), ``resampled`` (seeds, R), by model and column."""

    seeds: tuple[int, ...]
    columns: tuple[str, ...]
    scores: Scores
    resampled: Scores


def measure(rows: Rows, output: Path) -> Measured:
    """Read the evaluations below ``output`` (a folder per seed) and resample their items.

    The resamples of a benchmark's items are the same for all models and seeds, so that differences are paired.
    """
    seeds = tuple(sorted(int(folder.name) for folder in output.iterdir() if folder.is_dir()))
    kinds = _benchmarks(output / str(seeds[0]))
    scores: Scores = {}
    resampled: Scores = {}
    for model in rows.labels():
        per_seed = [_of_seed(output / str(seed), model, kinds, rows.bootstrap) for seed in seeds]
        columns = tuple(per_seed[0])
        scores[model] = {name: np.array([entry[name][0] for entry in per_seed]) for name in columns}
        resampled[model] = {name: np.stack([entry[name][1] for entry in per_seed]) for name in columns}
    return Measured(seeds, columns, scores, resampled)


def _benchmarks(folder: Path) -> dict[str, str]:
    """Return ``retrieval`` or ``sts`` by benchmark, in the order evaluated."""
    summary = EvaluationSummary.of(folder)
    return {name: summary.benchmarks[name].type for name in summary.benchmark_order}


def _of_seed(
    folder: Path, model: str, kinds: Mapping[str, str], params: BootstrapParams
) -> dict[str, tuple[float, np.ndarray]]:
    """Return a model's score and its resampled scores (R,) by column: each benchmark, then the means."""
    found: dict[str, tuple[float, np.ndarray]] = {}
    scores = EvaluationSummary.of(folder).models[model]
    for number, (name, kind) in enumerate(kinds.items()):
        items = read_items(folder, model, name)
        gold = read_gold(folder, name) if kind == "sts" else None
        draws = np.random.default_rng((params.seed, number)).integers(0, len(items), (params.resamples, len(items)))
        found[name] = (scores[name], resampled_scores(items, gold, draws))
    by_task = {task: [found[name] for name, kind in kinds.items() if kind == task] for task in ("retrieval", "sts")}
    means = {task: tuple(sum(part) / len(part) for part in zip(*parts, strict=True)) for task, parts in by_task.items()}
    both = tuple((ir + sts) / 2 for ir, sts in zip(means["retrieval"], means["sts"], strict=True))
    return {**found, MEANS[0]: means["sts"], MEANS[1]: both}


def write_table(rows: Rows, measured: Measured, csv_file: Path, markdown: Path) -> None:
    """Write every number as csv, and the table people read as Markdown."""
    lines = [
        "| | " + " | ".join(measured.columns) + " |",
        "|---|" + "---|" * len(measured.columns),
    ]
    records = []
    for model, label in rows.labels().items():
        cells = []
        for column in measured.columns:
            record = _record(rows, measured, model, column)
            records.append({"row": model, "label": label, "column": column, **record})
            cells.append(_cell(record, reference=model == rows.reference))
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    markdown.parent.mkdir(parents=True, exist_ok=True)
    markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with csv_file.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)


def _record(rows: Rows, measured: Measured, model: str, column: str) -> dict[str, float]:
    scores = measured.scores[model][column].tolist()
    differences = measured.resampled[model][column] - measured.resampled[rows.reference][column]
    low, high = interval(differences.mean(axis=0), rows.bootstrap.level)
    own = np.array(scores) - measured.scores[rows.reference][column]
    return {
        "mean": round(mean(scores), 6),
        "deviation": round(stdev(scores), 6) if len(scores) > 1 else 0.0,
        "difference": round(float(own.mean()), 6),
        "low": round(low, 6),
        "high": round(high, 6),
    }


def _cell(record: Mapping[str, float], *, reference: bool) -> str:
    shown = f"{record['mean']:.3f} ± {record['deviation']:.3f}"
    if reference:
        return shown
    mark = "" if record["low"] <= 0 <= record["high"] else "*"
    return f"{shown} ({record['low']:+.3f} … {record['high']:+.3f}){mark}"
