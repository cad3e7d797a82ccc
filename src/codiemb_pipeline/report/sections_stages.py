"""What the sections on the single stages show: training, mining, merging.

From the files that those stages wrote to charts and plain values for the template.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from codiemb_pipeline.artifacts.merge import MergeSummary, Provenance
from codiemb_pipeline.artifacts.mine import MiningAudit
from codiemb_pipeline.params import run_params
from codiemb_pipeline.params.objectives import STS_LOSSES
from codiemb_pipeline.report.figures import delta_norms_chart, merge_weights_chart, mining_chart
from codiemb_pipeline.report.figures_training import (
    TASK_WORDS,
    compare_chart,
    dev_chart,
    dev_metrics_chart,
    learning_rate_chart,
    loss_chart,
)
from codiemb_pipeline.report.formats import listed
from codiemb_pipeline.report.inputs import AbsentError, ReportInputs, read_artifact, read_curve
from codiemb_pipeline.report.metrics import dev_scores
from codiemb_pipeline.report.tables import metric_word

PART_WORDS = {
    "info_nce": "InfoNCE",
    **{name: loss.label for name, loss in STS_LOSSES.items()},
    "symmetric": "InfoNCE to queries",
}
PACE = ("learning_rate", "gradient_norm", "tokens_per_second", "padding", "loader_share")
NOT_PARTS = {"step", "epoch", "loss", *PACE}
VERDICT_WORDS = {
    "kept": "kept as hard negatives",
    "not_sampled": "would have qualified, not drawn",
    "relative_margin": "too close to the best positive (relative margin)",
    "absolute_margin": "too close to the best positive (absolute margin)",
    "outside_window": "outside the rank window",
    "repeated_text": "text already taken",
    "equal_text": "same text as a positive or the query",
    "own_positive": "own positives",
}


def training_content(inputs: ReportInputs, params: dict[str, Any]) -> dict[str, Any]:
    """Return the charts of training, grouped, run by run.

    Raises:
        AbsentError: there is no curve of any run.
    """
    groups: list[dict[str, Any]] = []
    missing: list[str] = []
    facts: list[str] = []
    for name, overrides in params["runs"].items():
        curves = _curves_of(inputs.training_curves / name, missing)
        dev, why = _dev_charts(inputs.training_curves / name)
        missing += [why] if why else []
        if not curves:
            continue
        label = f"Run {name}: " if len(params["runs"]) > 1 else ""
        trained = run_params(params["train"], overrides, name).model_dump()
        groups += [{**group, "title": f"{label}{group['title']}"} for group in _groups(curves, dev, trained)]
        facts.append(f"{label}{_training_facts(curves)}")
    if not groups:
        raise AbsentError(" ".join(missing))
    return {"groups": groups, "missing": missing, "facts": " ".join(facts)}


def _curves_of(folder: Path, missing: list[str]) -> dict[str, pd.DataFrame]:
    """Return a run's curves by task, and add to ``missing`` why there is none of a task."""
    curves: dict[str, pd.DataFrame] = {}
    for task in ("ir", "sts"):
        try:
            curves[task] = read_curve(folder / f"{task}.csv", ("step", "loss"))
        except AbsentError as absent:
            missing.append(str(absent))
    return curves


def _groups(curves: dict[str, pd.DataFrame], dev: list[dict[str, Any]], train: dict[str, Any]) -> list[dict[str, Any]]:
    totals = [
        {
            "title": f"{TASK_WORDS[task].capitalize()} loss",
            "note": _only_part(curve),
            "svg": loss_chart(curve, "loss", task),
        }
        for task, curve in curves.items()
    ]
    groups = [{"title": "Dev scores and losses", "small": False, "charts": [*dev, *totals]}]
    for task, curve in curves.items():
        if len(_parts(curve)) > 1:
            title = f"Parts of the {TASK_WORDS[task]} loss"
            groups.append({"title": title, "small": True, "charts": _part_charts(task, curve, train[task])})
    return [*groups, {"title": "Pace", "small": True, "charts": _pace_charts(curves)}]


def _dev_charts(folder: Path) -> tuple[list[dict[str, Any]], str | None]:
    try:
        dev = read_curve(folder / "dev.csv")
    except AbsentError as absent:
        return [], str(absent)
    charts = [{"title": "Dev score", "note": "at each checkpoint, higher is better", "svg": dev_chart(dev)}]
    single = [name for name in dev if "/" in name]
    for metric in dict.fromkeys(name.split("/", 1)[1] for name in single):
        names = [name for name in single if name.split("/", 1)[1] == metric]
        if len(names) > 1:
            charts.append(
                {
                    "title": f"Dev {metric_word(metric)}",
                    "note": "by source",
                    "svg": dev_metrics_chart(dev, names, metric),
                }
            )
    return charts, None


def _parts(curve: pd.DataFrame) -> list[str]:
    """Return the columns that are parts of the loss, those we know first and in their order."""
    found = [name for name in curve if name not in NOT_PARTS and curve[name].notna().any()]
    return [name for name in PART_WORDS if name in found] + [name for name in found if name not in PART_WORDS]


def _only_part(curve: pd.DataFrame) -> str:
    parts = _parts(curve)
    return PART_WORDS.get(parts[0], parts[0]) if len(parts) == 1 else "total"


def _part_charts(task: str, curve: pd.DataFrame, task_params: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"title": PART_WORDS.get(name, name), "note": _weight_note(name, task_params),
         "svg": loss_chart(curve, name, task, small=True)}
        for name in _parts(curve)
    ]  # fmt: skip


def _weight_note(part: str, task_params: dict[str, Any]) -> str:
    settings = (task_params.get("parts") or {}).get(part)
    weight = settings["weight"] if settings else task_params.get(part)
    return f"weight {weight:g}" if isinstance(weight, (int, float)) else ""


def _pace_charts(curves: dict[str, pd.DataFrame]) -> list[dict[str, Any]]:
    charts = []

    def having(column: str) -> dict[str, pd.DataFrame]:
        return {task: curve for task, curve in curves.items() if column in curve and curve[column].notna().any()}

    if having("learning_rate"):
        svg = learning_rate_chart(having("learning_rate"))
        charts.append({"title": "Learning rate", "note": "", "svg": svg})
    for column, title, note in (
        ("gradient_norm", "Gradient norm", "before clipping"),
        ("tokens_per_second", "Tokens per second", "all processes"),
        ("padding", "Padding", "share of tokens"),
        ("loader_share", "Waiting for data", "share of the step"),
    ):
        if having(column):
            share = column in ("padding", "loader_share")
            charts.append({"title": title, "note": note, "svg": compare_chart(having(column), column, share=share)})
    return charts


def _training_facts(curves: dict[str, pd.DataFrame]) -> str:
    steps = max(int(curve["step"].max()) for curve in curves.values())
    each = " and ".join(f"{len(curve):,} of {TASK_WORDS[task]}" for task, curve in curves.items())
    return f"{steps:,} steps; logged: {each}."


def mining_content(inputs: ReportInputs, samples: int) -> dict[str, Any]:
    """Return histogram, counts and samples of every mined source.

    Raises:
        AbsentError: ``mine`` has written no audit, or nothing was mined.
    """
    audits = read_artifact(MiningAudit, inputs.hard_negatives / "audit.json").sources
    if not audits:
        raise AbsentError("No source was mined: none of assemble.train_sources is a retrieval source.")
    sources = []
    for name, audit in sorted(audits.items()):
        weighed = {verdict: audit.neighbours.get(verdict, 0) for verdict in VERDICT_WORDS}
        total = sum(weighed.values())
        sources.append({
            "name": name,
            "counts": audit.counts,
            "svg": mining_chart(name, audit.histogram),
            "verdicts": [(VERDICT_WORDS[key], number, number / total) for key, number in weighed.items() if number],
            "named": sum(audit.named.values()),
            "samples": audit.samples[:samples],
        })  # fmt: skip
    return {"sources": sources}


def merge_content(inputs: ReportInputs, merged: MergeSummary) -> dict[str, Any]:
    """Return heat maps of the weights, the distances from base, and what each method used.

    Layers that no candidate moved are named, not drawn.
    """
    layers = {name: [layer for layer in merged.methods[name].layers if layer.weights] for name in merged.order}
    weights = [weight for rows in layers.values() for layer in rows for weight in layer.weights.values()]
    top = max(weights, default=1.0)
    charts = [
        {"title": name, "note": _method_note(inputs, name), "dev": entry.dev, "trials": entry.trials,
         "svg": merge_weights_chart(name, layers[name], entry.candidates, top)}
        for name in merged.order
        if layers[name] and (entry := merged.methods[name])
    ]  # fmt: skip
    first = merged.order[0]
    candidates = merged.methods[first].candidates
    return {
        "charts": charts,
        "norms": delta_norms_chart(layers[first], candidates) if layers[first] else None,
        "still": listed([layer.label for layer in merged.methods[first].layers if not layer.weights]),
        "devs": _devs(merged),
    }


def _devs(merged: MergeSummary) -> list[dict[str, Any]]:
    """Return the dev score of every candidate and merged model, the highest marked."""
    scores = dev_scores(merged)
    return [{"name": name, "dev": dev, "best": dev == max(scores.values())} for name, dev in scores.items()]


def _method_note(inputs: ReportInputs, recipe: str) -> str:
    try:
        return read_artifact(Provenance, inputs.merged / recipe / "provenance.json").description
    except AbsentError:
        return ""
