"""The published scores of other models, to stand beside ours where a benchmark was run on the full data.

From the summary of ``evaluate`` and the registry of benchmarks to a table and sentences; knows nothing of HTML.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from codiemb_pipeline.benchmarks.registry import BENCHMARKS, PUBLISHED
from codiemb_pipeline.report.formats import count, listed
from codiemb_pipeline.report.tables import Results, with_means


def published_rows(results: Results) -> pd.DataFrame:
    """Return the published scores under the columns of the result table, means among them; no row without a score.

    NaN where nothing is published for the data that was run. A mean is there when all it is over is.
    """
    full = [name for name in results.paper if results.benchmarks[name]["full"]]
    scores = pd.DataFrame(float("nan"), index=list(PUBLISHED) if full else [], columns=results.scores.columns)
    for name in full:
        scores[name] = pd.Series(BENCHMARKS[name].published) / 100
    return with_means(replace(results, scores=scores))


def published_notes(results: Results) -> list[str]:
    """Say where the published scores come from, and why some are not shown; nothing when none could be."""
    if not results.paper:
        return []
    full = [name for name in results.paper if results.benchmarks[name]["full"]]
    other = [name for name in results.paper if name not in full]
    notes = []
    if full:
        notes.append(
            f"Published: the scores of {listed(list(PUBLISHED))} in mteb's results repository, beside every benchmark "
            f"that was run on as many rows as the full one has."
        )
    if other:
        differences = "; ".join(f"{name}: {_sizes(results, name)}" for name in other)
        notes.append(
            f"No published scores stand beside {listed(other)}: what was run is not the full benchmark ({differences})."
        )
    return notes


def _sizes(results: Results, name: str) -> str:
    found, full = results.benchmarks[name]["size"], BENCHMARKS[name].size
    return ", ".join(f"{count(found.get(what))} of {count(amount)} {what}" for what, amount in full.items())
