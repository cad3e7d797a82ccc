"""The content of the sections on training, mining, merging, geometry and the data."""

from itertools import islice
from typing import Any

import pandas as pd

from codiemb_pipeline.artifacts.assemble import Contamination, Manifest
from codiemb_pipeline.artifacts.evaluate import Geometry
from codiemb_pipeline.artifacts.ingest import IngestCounts, SourceCounts
from codiemb_pipeline.artifacts.merge import MergeSummary
from codiemb_pipeline.artifacts.mine import MiningAudit, SourceAudit
from codiemb_pipeline.jsonl import read_jsonl
from codiemb_pipeline.params import TrainParams
from codiemb_pipeline.params.objectives import STS_LOSSES
from codiemb_pipeline.report.figures import (
    Chart,
    delta_norms_chart,
    dev_chart,
    learning_rate_chart,
    loss_chart,
    merge_weights_chart,
    mining_chart,
    pace_chart,
)
from codiemb_pipeline.report.formats import METRIC_LABELS, TASK_WORDS, listed
from codiemb_pipeline.report.inputs import (
    AbsentError,
    ReportInputs,
    RunFacts,
    attempt,
    read_artifact,
    read_curve,
)
from codiemb_pipeline.report.results import Choice, Results, dev_scores
from codiemb_pipeline.schema import SPLITS

PART_LABELS = {
    "info_nce": "InfoNCE",
    **{name: loss.label for name, loss in STS_LOSSES.items()},
    "symmetric": "InfoNCE to queries",
}
PACE = {
    "learning_rate": ("Learning rate", ""),
    "gradient_norm": ("Gradient norm", "before clipping"),
    "tokens_per_second": ("Tokens per second", "all processes"),
    "padding": ("Padding", "share of tokens"),
    "loader_share": ("Waiting for data", "share of the step"),
}
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


def training_content(inputs: ReportInputs, run: RunFacts) -> dict[str, Any]:
    """Return the charts of training in groups (title, whether they are small, charts), run by run.

    Raises:
        AbsentError: no run has a curve.
    """
    groups: list[tuple[str, bool, list[Chart]]] = []
    missing: list[str] = []
    facts: list[str] = []
    for name, train in run.trainings.items():
        folder = inputs.training_curves / name
        found = {task: attempt(read_curve, folder / f"{task}.csv", ("step", "loss")) for task in TASK_WORDS}
        dev = attempt(read_curve, folder / "dev.csv")
        missing += [str(curve) for curve in (*found.values(), dev) if isinstance(curve, AbsentError)]
        curves = {task: curve for task, curve in found.items() if isinstance(curve, pd.DataFrame)}
        if curves:
            label = f"Run {name}: " if len(run.trainings) > 1 else ""
            dev_charts = _dev_charts(dev) if isinstance(dev, pd.DataFrame) else []
            groups += [(label + title, *rest) for title, *rest in _chart_groups(curves, dev_charts, train)]
            steps = max(int(curve["step"].max()) for curve in curves.values())
            each = " and ".join(f"{len(curve):,} of {TASK_WORDS[task]}" for task, curve in curves.items())
            facts.append(f"{label}{steps:,} steps; logged: {each}.")
    if not groups:
        raise AbsentError(" ".join(missing))
    return {"groups": groups, "missing": missing, "facts": " ".join(facts)}


def _dev_charts(dev: pd.DataFrame) -> list[Chart]:
    tasks = {**TASK_WORDS, "mean": "mean"}
    charts = [Chart("Dev score", "at each checkpoint, higher is better", dev_chart(dev, tasks))]
    single = [name.split("/", 1) for name in dev if "/" in name]
    for metric in dict.fromkeys(metric for _, metric in single):
        names = {f"{source}/{metric}": source for source, of_source in single if of_source == metric}
        if len(names) > 1:
            charts.append(Chart(f"Dev {METRIC_LABELS.get(metric, metric)}", "by source", dev_chart(dev, names)))
    return charts


def _chart_groups(
    curves: dict[str, pd.DataFrame], dev_charts: list[Chart], train: TrainParams
) -> list[tuple[str, bool, list[Chart]]]:
    weights = {
        "ir": {"symmetric": train.ir.symmetric},
        "sts": {name: settings.weight for name, settings in train.sts.active().items()},
    }
    totals, parts = [], []
    for task, curve in curves.items():
        word, labels = TASK_WORDS[task], _parts(curve)
        note = "".join(labels.values()) if len(labels) == 1 else "total"
        totals.append(Chart(f"{word.capitalize()} loss", note, loss_chart(curve, "loss", task)))
        if len(labels) > 1:
            notes = {name: f"weight {weight:g}" for name, weight in weights[task].items()}
            charts = [
                Chart(label, notes.get(name, ""), loss_chart(curve, name, task, small=True))
                for name, label in labels.items()
            ]
            parts.append((f"Parts of the {word} loss", True, charts))
    return [("Dev scores and losses", False, dev_charts + totals), *parts, ("Pace", True, _pace_charts(curves))]


def _parts(curve: pd.DataFrame) -> dict[str, str]:
    """Return the labels of the columns that are parts of the loss, known ones first."""
    found = [name for name in curve if name not in NOT_PARTS and curve[name].notna().any()]
    return {name: PART_LABELS.get(name, name) for name in (*PART_LABELS, *found) if name in found}


def _pace_charts(curves: dict[str, pd.DataFrame]) -> list[Chart]:
    charts = []
    for column, (title, note) in PACE.items():
        known = {task: curve for task, curve in curves.items() if column in curve and curve[column].notna().any()}
        if known and column == "learning_rate":
            charts.append(Chart(title, note, learning_rate_chart(known)))
        elif known:
            charts.append(Chart(title, note, pace_chart(known, column, share=column in ("padding", "loader_share"))))
    return charts


def mining_content(inputs: ReportInputs, samples: int) -> dict[str, Any]:
    """Return the histogram, counts and samples of every mined source.

    Raises:
        AbsentError: ``mine`` has written no audit, or nothing was mined.
    """
    audits = read_artifact(MiningAudit, inputs.hard_negatives / "audit.json").sources
    if not audits:
        raise AbsentError("No source was mined: none of assemble.train_sources is a retrieval source.")
    return {"sources": [_mined(name, audit, samples) for name, audit in sorted(audits.items())]}


def _mined(name: str, audit: SourceAudit, samples: int) -> dict[str, Any]:
    numbers = {label: audit.neighbours.get(key, 0) for key, label in NEIGHBOUR_LABELS.items()}
    total = sum(numbers.values())
    return {
        "name": name,
        "counts": audit.counts,
        "svg": mining_chart(name, audit.histogram),
        "neighbours": [(label, number, number / total) for label, number in numbers.items() if number],
        "named": sum(audit.named.values()),
        "samples": audit.samples[:samples],
    }


def merge_content(merged: MergeSummary) -> dict[str, Any]:
    """Return heat maps of the weights, the distances from base and the dev scores.

    Layers that no candidate changed are named but not drawn.
    """
    moved = {name: [layer for layer in merged.methods[name].layers if layer.weights] for name in merged.order}
    top = max((max(layer.weights.values()) for layers in moved.values() for layer in layers), default=1.0)
    charts = []
    for name, layers in moved.items():
        if layers:
            model = merged.methods[name]
            chart = merge_weights_chart(name, layers, model.candidates, top)
            charts.append((Chart(name, model.description, chart), model))
    first, devs = merged.order[0], dev_scores(merged)
    return {
        "charts": charts,
        "norms": delta_norms_chart(moved[first], merged.methods[first].candidates) if moved[first] else None,
        "still": listed([layer.label for layer in merged.methods[first].layers if not layer.weights]),
        "devs": devs,
        "best": max(devs.values()),
    }


def geometry_content(inputs: ReportInputs, choice: Choice | None, results: Results | None) -> dict[str, Any]:
    """Return the measures of every model, those with results first, in their order.

    Raises:
        AbsentError: ``evaluate`` has written no geometry.
    """
    geometry = read_artifact(Geometry, inputs.evaluation / "geometry.json")
    order = list(results.scores.index) if results else []
    names = [*(name for name in order if name in geometry.models), *sorted(set(geometry.models) - set(order))]
    models = {name: geometry.models[name].model_dump() for name in names}
    return {"geometry": geometry, "models": models, "chosen": choice.model if choice else None}


def data_content(inputs: ReportInputs, train_sources: list[str]) -> dict[str, Any]:
    """Return counts of every source, of the training and dev examples, and of benchmark texts found among them.

    Raises:
        AbsentError: ``ingest`` has written no counts.
    """
    counts = read_artifact(IngestCounts, inputs.sources / "counts.json").sources
    sources = [_source(name, entry, name in train_sources) for name, entry in counts.items()]
    manifest = attempt(read_artifact, Manifest, inputs.model_input / "manifest.json")
    audit = attempt(audit_content, attempt(read_artifact, Contamination, inputs.contamination))
    rejects = inputs.sources / "rejects.jsonl"
    return {
        "sources": sorted(sources, key=lambda source: (source["task"], not source["trained"], source["name"])),
        "origins": [(name, origin) for name, entry in counts.items() for origin in entry.origins],
        "most": max((sum(source["splits"].values()) for source in sources), default=0) or 1,
        "splits": list(SPLITS),
        "rejects": list(islice(read_jsonl(rejects), SHOWN_REJECTS)) if rejects.exists() else [],
        "manifest": manifest,
        "audit": audit,
        "missing": [str(part) for part in (manifest, audit) if isinstance(part, AbsentError)],
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


def audit_content(report: Contamination) -> dict[str, Any]:
    """Return the findings of the contamination audit, a row per source and benchmark.

    A row counts training texts that equal, or nearly equal, the benchmark's texts of each kind; a text that is both a
    positive and a negative counts twice. ``shared`` counts documents of a corpus that training and test queries share.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for finding in report.findings:
        names = finding.source, finding.benchmark
        row = rows.setdefault(names, {"names": names, "counts": {kind: [0, 0] for kind in AUDITED}, "shared": [0, 0]})
        counts = row["shared"] if finding.shared else row["counts"][finding.text]
        counts[0] += finding.exact
        counts[1] += finding.near
    leaking = [row for row in rows.values() if any(map(sum, row["counts"].values()))]
    return {
        "report": report,
        "act_on": listed([AUDITED[kind] for kind in report.settings.get("act_on", ())]) or "nothing",
        "kinds": AUDITED,
        "rows": list(rows.values()),
        "clean": len(report.benchmarks) * len(report.sources) - len(leaking),
    }
