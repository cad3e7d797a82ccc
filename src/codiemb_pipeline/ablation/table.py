"""The ablation's results as a table: mean and deviation over seeds, and paired-bootstrap intervals of differences."""

from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pandas as pd
import torch

from codiemb_pipeline.ablation.rows import BootstrapParams, Rows
from codiemb_pipeline.artifacts.evaluate import EvaluationSummary, read_gold, read_items
from codiemb_pipeline.scoring.metrics import spearman

Scores = dict[str, np.ndarray]
"""By column, a benchmark or a mean over benchmarks: the score and its R resamples, float64 (R + 1,)."""


def resampled_scores(items: np.ndarray, gold: np.ndarray | None, draws: np.ndarray) -> np.ndarray:
    """Return a benchmark's score on each resample of its items.

    Args:
        items: (n,) the number of each item: a query's nDCG@10, or a pair's cosine.
        gold: (n,) human scores of the pairs, for Spearman's correlation; ``None`` for the mean.
        draws: (R, n) int64, the items of each resample; the same for models that are compared.

    Returns:
        float64 (R,). A resample in which all gold scores or all cosines are equal scores 0.
    """
    if gold is None:
        return items[draws].mean(axis=1)
    cosines, scores = torch.from_numpy(items), torch.from_numpy(gold)
    return np.array([spearman(cosines[draw], scores[draw]) for draw in torch.from_numpy(draws)])


def interval(differences: np.ndarray, level: float) -> tuple[float, float]:
    """Return the percentile interval of (R,) resampled differences."""
    rest = (1.0 - level) / 2
    low, high = np.quantile(differences, [rest, 1.0 - rest])
    return float(low), float(high)


def measure(rows: Rows, output: Path) -> dict[str, Scores]:
    """Read the evaluations below ``output`` (a folder per seed) and resample their items.

    The resamples of a benchmark's items are the same for all models and seeds, so that differences are paired.

    Returns:
        By model and column: scores and resamples, float64 (seeds, R + 1), seeds in ascending order.
    """
    folders = sorted((folder for folder in output.iterdir() if folder.is_dir()), key=lambda folder: int(folder.name))
    measured: dict[str, Scores] = {}
    for model in rows.labels():
        of_seeds = [_of_seed(folder, model, rows.bootstrap) for folder in folders]
        measured[model] = {column: np.stack([scores[column] for scores in of_seeds]) for column in of_seeds[0]}
    return measured


def _of_seed(folder: Path, model: str, params: BootstrapParams) -> Scores:
    """Return a model's scores on each benchmark in the order evaluated, then the means."""
    summary = EvaluationSummary.of(folder)
    found: Scores = {}
    by_type: dict[str, list[np.ndarray]] = {"retrieval": [], "sts": []}
    for number, name in enumerate(summary.benchmark_order):
        kind = summary.benchmarks[name].type
        items = read_items(folder, model, name)
        gold = read_gold(folder, name) if kind == "sts" else None
        draws = np.random.default_rng((params.seed, number)).integers(0, len(items), (params.resamples, len(items)))
        found[name] = np.append(summary.models[model][name], resampled_scores(items, gold, draws))
        by_type[kind].append(found[name])
    ir, sts = (sum(scores) / len(scores) for scores in by_type.values())
    return {**found, "STS mean": sts, "mean of both": (ir + sts) / 2}


def write_table(rows: Rows, measured: Mapping[str, Scores], csv_file: Path, markdown: Path) -> None:
    """Write every number as csv, and the table people read as Markdown."""
    columns, records = list(measured[rows.reference]), []
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for model, label in rows.labels().items():
        of_model = [_record(rows, measured, model, column) for column in columns]
        records += [
            {"row": model, "label": label, "column": column, **record}
            for column, record in zip(columns, of_model, strict=True)
        ]
        cells = [_cell(record, reference=model == rows.reference) for record in of_model]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    markdown.parent.mkdir(parents=True, exist_ok=True)
    markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")
    pd.DataFrame(records).to_csv(csv_file, index=False, lineterminator="\n")


def _record(rows: Rows, measured: Mapping[str, Scores], model: str, column: str) -> dict[str, float]:
    scores = measured[model][column][:, 0].tolist()
    differences = measured[model][column] - measured[rows.reference][column]
    low, high = interval(differences[:, 1:].mean(axis=0), rows.bootstrap.level)
    return {
        "mean": round(mean(scores), 6),
        "deviation": round(stdev(scores), 6) if len(scores) > 1 else 0.0,
        "difference": round(float(differences[:, 0].mean()), 6),
        "low": round(low, 6),
        "high": round(high, 6),
    }


def _cell(record: Mapping[str, float], *, reference: bool) -> str:
    shown = f"{record['mean']:.3f} ± {record['deviation']:.3f}"
    if reference:
        return shown
    mark = "" if record["low"] <= 0 <= record["high"] else "*"
    return f"{shown} ({record['low']:+.3f} … {record['high']:+.3f}){mark}"
