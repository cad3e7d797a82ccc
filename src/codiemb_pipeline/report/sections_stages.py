"""The content of the sections on training, mining, merging, the data and the run."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from codiemb_pipeline.artifacts.ingest import IngestCounts, SourceCounts
from codiemb_pipeline.artifacts.merge import MergeSummary, Provenance
from codiemb_pipeline.artifacts.mine import MiningAudit
from codiemb_pipeline.jsonl import read_jsonl
from codiemb_pipeline.params import run_params
from codiemb_pipeline.params.objectives import STS_LOSSES
from codiemb_pipeline.report.facts import STAGES, RunFacts
from codiemb_pipeline.report.figures import (
    TASK_WORDS,
    compare_chart,
    delta_norms_chart,
    dev_chart,
    dev_metrics_chart,
    learning_rate_chart,
    loss_chart,
    merge_weights_chart,
    mining_chart,
)
from codiemb_pipeline.report.formats import listed, to_yaml
from codiemb_pipeline.report.inputs import AbsentError, ReportInputs, read_artifact, read_curve, read_written
from codiemb_pipeline.report.results import (
    dev_scores,
    metric_label,
)
from codiemb_pipeline.schema import SPLITS

PART_LABELS = {
    "info_nce": "InfoNCE",
    **{name: loss.label for name, loss in STS_LOSSES.items()},
    "symmetric": "InfoNCE to queries",
}
PACE = ("learning_rate", "gradient_norm", "tokens_per_second", "padding", "loader_share")
NOT_PARTS = {"step", "epoch", "loss", *PACE}
NEIGHBOUR_LABELS = {
    "kept": "kept as hard negatives",
    "not_sampled": "qualified, but not sampled",
    "relative_margin": "too close to the best positive (relative margin)",
    "absolute_margin": "too close to the best positive (absolute margin)",
    "outside_window": "outside the rank window",
    "repeated_text": "text already used",
    "equal_text": "same text as a positive or the query",
    "own_positive": "own positives",
}
SHOWN_REJECTS = 20
AUDITED = {"query": "queries", "document": "documents", "pair": "pairs", "sentence": "sentences"}
DUPLICATE_WORDS = ("repeat", "later split")


def training_content(inputs: ReportInputs, params: dict[str, Any]) -> dict[str, Any]:
    """Return the charts of training in groups, run by run.

    Raises:
        AbsentError: no run has a curve.
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
        groups += [{**group, "title": f"{label}{group['title']}"} for group in _chart_groups(curves, dev, trained)]
        facts.append(f"{label}{_training_facts(curves)}")
    if not groups:
        raise AbsentError(" ".join(missing))
    return {"groups": groups, "missing": missing, "facts": " ".join(facts)}


def _curves_of(folder: Path, missing: list[str]) -> dict[str, pd.DataFrame]:
    """Return a run's curves by task, and append to ``missing`` why a task has none."""
    curves: dict[str, pd.DataFrame] = {}
    for task in ("ir", "sts"):
        try:
            curves[task] = read_curve(folder / f"{task}.csv", ("step", "loss"))
        except AbsentError as absent:
            missing.append(str(absent))
    return curves


def _chart_groups(
    curves: dict[str, pd.DataFrame], dev: list[dict[str, Any]], train: dict[str, Any]
) -> list[dict[str, Any]]:
    totals = [
        {"title": f"{TASK_WORDS[task].capitalize()} loss", "note": _only_part(curve),
         "svg": loss_chart(curve, "loss", task)}
        for task, curve in curves.items()
    ]  # fmt: skip
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
            svg = dev_metrics_chart(dev, names, metric)
            charts.append({"title": f"Dev {metric_label(metric)}", "note": "by source", "svg": svg})
    return charts, None


def _parts(curve: pd.DataFrame) -> list[str]:
    """Return the columns that are parts of the loss, known ones first."""
    found = [name for name in curve if name not in NOT_PARTS and curve[name].notna().any()]
    return [name for name in PART_LABELS if name in found] + [name for name in found if name not in PART_LABELS]


def _only_part(curve: pd.DataFrame) -> str:
    parts = _parts(curve)
    return PART_LABELS.get(parts[0], parts[0]) if len(parts) == 1 else "total"


def _part_charts(task: str, curve: pd.DataFrame, task_params: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"title": PART_LABELS.get(name, name), "note": _weight_note(name, task_params),
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
    """Return the histogram, counts and samples of every mined source.

    Raises:
        AbsentError: ``mine`` has written no audit, or nothing was mined.
    """
    audits = read_artifact(MiningAudit, inputs.hard_negatives / "audit.json").sources
    if not audits:
        raise AbsentError("No source was mined: none of assemble.train_sources is a retrieval source.")
    sources = []
    for name, audit in sorted(audits.items()):
        numbers = {label: audit.neighbours.get(key, 0) for key, label in NEIGHBOUR_LABELS.items()}
        total = sum(numbers.values())
        sources.append({
            "name": name,
            "counts": audit.counts,
            "svg": mining_chart(name, audit.histogram),
            "neighbours": [(label, number, number / total) for label, number in numbers.items() if number],
            "named": sum(audit.named.values()),
            "samples": audit.samples[:samples],
        })  # fmt: skip
    return {"sources": sources}


def merge_content(inputs: ReportInputs, merged: MergeSummary) -> dict[str, Any]:
    """Return heat maps of the weights, the distances from base and the dev scores.

    Layers that no candidate changed are named but not drawn.
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
    first, devs = merged.order[0], dev_scores(merged)
    candidates = merged.methods[first].candidates
    return {
        "charts": charts,
        "norms": delta_norms_chart(layers[first], candidates) if layers[first] else None,
        "still": listed([layer.label for layer in merged.methods[first].layers if not layer.weights]),
        "devs": [{"name": name, "dev": dev, "best": dev == max(devs.values())} for name, dev in devs.items()],
    }


def _method_note(inputs: ReportInputs, recipe: str) -> str:
    try:
        return read_artifact(Provenance, inputs.merged / recipe / "provenance.json").description
    except AbsentError:
        return ""


def data_content(inputs: ReportInputs, train_sources: list[str]) -> dict[str, Any]:
    """Return counts of every source, of the training and dev examples, and of benchmark texts found among them.

    Raises:
        AbsentError: ``ingest`` has written no counts.
    """
    counts = read_artifact(IngestCounts, inputs.sources / "counts.json").sources
    missing: list[str] = []
    try:
        manifest = read_written(inputs.model_input / "manifest.json", "assemble")
    except AbsentError as absent:
        manifest = None
        missing.append(str(absent))
    try:
        audit = audit_content(read_written(inputs.contamination, "assemble"))
    except AbsentError as absent:
        audit = None
        missing.append(str(absent))
    sources = [_source(name, entry, name in train_sources) for name, entry in counts.items()]
    return {
        "sources": sorted(sources, key=lambda source: (source["task"], not source["trained"], source["name"])),
        "most": max((sum(source["splits"].values()) for source in sources), default=0) or 1,
        "splits": list(SPLITS),
        "rejects": _rejects(inputs.sources / "rejects.jsonl"),
        "assembled": _assembled(manifest) if manifest else [],
        "manifest": manifest,
        "audit": audit,
        "missing": missing,
    }


def _source(name: str, counts: SourceCounts, trained: bool) -> dict[str, Any]:
    filtered = counts.filtered
    duplicates = sum(number for why, number in filtered.items() if any(word in why for word in DUPLICATE_WORDS))
    return {
        "name": name,
        "trained": trained,
        **counts.model_dump(),
        "duplicates": duplicates,
        "other": sum(filtered.values()) - duplicates,
        "filtered": sorted(filtered.items(), key=lambda item: (-item[1], item[0])),
    }


def _rejects(path: Path) -> list[dict[str, Any]]:
    """Return the first rejected rows, each with file, row, field and reason."""
    return list(islice(read_jsonl(path), SHOWN_REJECTS)) if path.exists() else []


def _assembled(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the numbers of examples, texts and tokens per source and split."""
    rows = []
    for split in ("train", "dev"):
        for name, entry in manifest.get(split, {}).items():
            rows.append({
                "name": name,
                "split": split,
                "examples": entry.get("examples", entry.get("queries", entry.get("pairs"))),
                "positives": entry.get("positives", entry.get("qrels")) if entry["task"] == "ir" else None,
                "negatives": entry.get("negatives") if entry["task"] == "ir" else None,
                "texts": entry.get("texts"),
                "tokens": entry.get("tokens"),
                "full": entry.get("texts_at_max_length"),
                "dropped": [(why.replace("_", " "), n) for why, n in entry.get("dropped", {}).items() if n],
            })  # fmt: skip
    return rows


def audit_content(report: dict[str, Any]) -> dict[str, Any]:
    """Return the findings of the contamination audit, a row per source and benchmark.

    A row counts training texts that equal, or nearly equal, the benchmark's texts of each kind; a text that is both a
    positive and a negative counts twice. ``shared`` counts documents of a corpus that training and test queries share.
    """
    if report["mode"] == "off":
        return {"mode": "off"}
    findings, sizes = report["findings"], report["benchmarks"]
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for finding in findings:
        names = finding["source"], finding["benchmark"]
        row = rows.setdefault(names, {"names": names, "counts": {kind: [0, 0] for kind in AUDITED}, "shared": [0, 0]})
        counts = row["shared"] if finding["shared"] else row["counts"][finding["text"]]
        counts[0] += finding["exact"]
        counts[1] += finding["near"]
    removed = [
        (source, benchmark, counts)
        for source, by_benchmark in report["removed"].items()
        for benchmark, counts in by_benchmark.items()
    ]
    leaking = {row["names"] for row in rows.values() if any(map(sum, row["counts"].values()))}
    return {
        "mode": report["mode"],
        "act_on": listed([AUDITED[kind] for kind in report["settings"]["act_on"]]) or "nothing",
        "kinds": AUDITED,
        "rows": list(rows.values()),
        "clean": len(sizes) * len(report["sources"]) - len(leaking),
        "details": [finding | {"of": _size(finding, sizes), "kind": AUDITED[finding["text"]]} for finding in findings],
        "removed": removed,
    }


def _size(finding: dict[str, Any], sizes: dict[str, dict[str, int]]) -> int:
    """Return how many queries, documents or pairs the benchmark has; for sentences, the number of pairs."""
    return sizes[finding["benchmark"]]["pair" if finding["text"] == "sentence" else finding["text"]]


def run_content(run: RunFacts) -> dict[str, Any]:
    """Return the facts of the run."""
    order = [stage for stage in STAGES if stage in run.durations]
    order += sorted(set(run.durations) - set(order))
    longest = max(run.durations.values(), default=0.0) or 1.0
    return {
        "git": run.git,
        "hardware": run.hardware,
        "versions": run.versions,
        "durations": [(stage, run.durations[stage], run.durations[stage] / longest) for stage in order],
        "total": sum(run.durations.values()),
        "params": [(section, to_yaml(values)) for section, values in run.params.items()],
    }
