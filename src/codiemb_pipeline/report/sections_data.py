"""What the sections on the data and on the run show: counts per source, the audit, and what was run, where, how long.

From the counts of ``ingest``, the manifest and the audit of ``assemble`` and the facts of the run to plain values for
the template; knows nothing of HTML.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from codiemb_pipeline.artifacts.ingest import IngestCounts, SourceCounts
from codiemb_pipeline.jsonl import read_jsonl
from codiemb_pipeline.report.facts import STAGES, RunFacts
from codiemb_pipeline.report.formats import listed, to_yaml
from codiemb_pipeline.report.inputs import AbsentError, ReportInputs, read_artifact, read_written
from codiemb_pipeline.schema import SPLITS

SHOWN_REJECTS = 20
AUDITED = {"query": "queries", "document": "documents", "pair": "pairs", "sentence": "sentences"}
DUPLICATE_WORDS = ("repeat", "later split")


def data_content(inputs: ReportInputs, train_sources: list[str]) -> dict[str, Any]:
    """Return counts of every source, of what entered training and dev, and of what of it stands in benchmarks.

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
        "task": counts.task,
        "trained": trained,
        "rows": counts.rows,
        "splits": counts.splits,
        "documents": counts.documents,
        "judgements": counts.judgements,
        "rejected": counts.rejected,
        "duplicates": duplicates,
        "other": sum(filtered.values()) - duplicates,
        "filtered": sorted(filtered.items(), key=lambda item: (-item[1], item[0])),
    }


def _rejects(path: Path) -> list[dict[str, Any]]:
    """Return the first rows that were set aside, each with file, row, field and reason."""
    return list(islice(read_jsonl(path), SHOWN_REJECTS)) if path.exists() else []


def _assembled(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row per source and split of what the model is shown."""
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
                "dropped": [(_words(why), number) for why, number in entry.get("dropped", {}).items() if number],
            })  # fmt: skip
    return rows


def audit_content(report: dict[str, Any]) -> dict[str, Any]:
    """Return what the audit of training texts against the benchmarks found, a row per source and benchmark.

    A row counts training texts equal to, and nearly equal to, the benchmark's texts of each kind; a text that is
    positive here and negative there counts as both. ``shared`` are documents of a corpus that train and test share.
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
    """Return how many queries, documents or pairs the benchmark has; of sentences, the pairs they stand in."""
    return sizes[finding["benchmark"]]["pair" if finding["text"] == "sentence" else finding["text"]]


def _words(key: str) -> str:
    return key.replace("_", " ")


def run_content(run: RunFacts) -> dict[str, Any]:
    """Return what was run."""
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
