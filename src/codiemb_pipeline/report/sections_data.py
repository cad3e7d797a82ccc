"""What the sections on the data and on the run show: counts per source, and what was run, where, how long.

From the counts of ``ingest``, the manifest of ``assemble`` and the facts of the run to plain values for the template;
knows nothing of HTML.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from codiemb_pipeline.jsonl import read_jsonl
from codiemb_pipeline.report.facts import STAGES, RunFacts
from codiemb_pipeline.report.formats import to_yaml
from codiemb_pipeline.report.inputs import AbsentError, ReportInputs, read_written
from codiemb_pipeline.schema import SPLITS

SHOWN_REJECTS = 20
DUPLICATE_WORDS = ("repeat", "later split")


def data_content(inputs: ReportInputs, train_sources: list[str]) -> dict[str, Any]:
    """Return counts of every source, and of what entered training and dev.

    Raises:
        AbsentError: ``ingest`` has written no counts.
    """
    counts = read_written(inputs.sources / "counts.json", "ingest")["sources"]
    missing: list[str] = []
    try:
        manifest = read_written(inputs.model_input / "manifest.json", "assemble")
    except AbsentError as absent:
        manifest = None
        missing.append(str(absent))
    sources = [_source(name, entry, name in train_sources) for name, entry in counts.items()]
    return {
        "sources": sorted(sources, key=lambda source: (source["task"], not source["trained"], source["name"])),
        "most": max((sum(source["splits"].values()) for source in sources), default=0) or 1,
        "splits": list(SPLITS),
        "rejects": _rejects(inputs.sources / "rejects.jsonl"),
        "assembled": _assembled(manifest) if manifest else [],
        "manifest": manifest,
        "missing": missing,
    }


def _source(name: str, entry: dict[str, Any], trained: bool) -> dict[str, Any]:
    left_out: dict[str, int] = entry.get("left_out", {})
    duplicates = sum(number for why, number in left_out.items() if any(word in why for word in DUPLICATE_WORDS))
    return {
        "name": name,
        "task": entry["task"],
        "trained": trained,
        "rows": entry["rows"],
        "splits": entry["splits"],
        "documents": entry.get("documents"),
        "judgements": entry.get("judgements"),
        "rejected": entry["rejected"],
        "duplicates": duplicates,
        "other": sum(left_out.values()) - duplicates,
        "left_out": sorted(left_out.items(), key=lambda item: (-item[1], item[0])),
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
