"""How much of each source enters training: caps, order, the audit, and what the manifest says of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from codiemb_pipeline.artifacts.ingest import read_pairs, read_retrieval, task_of
from codiemb_pipeline.assemble.audit import Audit
from codiemb_pipeline.assemble.examples import PairExamples, RetrievalExamples
from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.assemble import AssembleParams
from codiemb_pipeline.schema import TrainingExample
from codiemb_pipeline.texts import hash_share


def choose(ids: Sequence[str], cap: int | None, seed: int, *purpose: str) -> list[int]:
    """Return the places of at most ``cap`` of ``ids``, in order; all of them for ``None``.

    Each id has a fixed draw and the lowest win, so the choice depends on the ids alone, grows with the cap, and is
    hardly stirred by ids added or taken away.
    """
    if cap is None or len(ids) <= cap:
        return list(range(len(ids)))
    return sorted(sorted(range(len(ids)), key=lambda place: hash_share(seed, *purpose, ids[place]))[:cap])


def source_examples(
    name: str,
    params: AssembleParams,
    prompts: PromptBook,
    sources: Path,
    hard_negatives: Path,
    audit: Audit | None = None,
) -> tuple[list[TrainingExample], dict[str, Any]]:
    """Return the training examples of source ``name`` in the order of its tables, and their entry in the manifest.

    Raises:
        InputError: the source does not exist or has no training rows, its hard negatives do not fit it, or the audit
            takes all of it out.
    """
    task = task_of(sources, name)
    instruction = prompts.instruction(task, name)
    if task == "ir":
        rows = RetrievalExamples(name, read_retrieval(sources, name), hard_negatives / f"{name}.jsonl")
        limits = params.model_dump(include={"max_positives", "max_negatives"})
        build, over_cap = partial(rows.build, instruction=instruction, **limits), "queries_over_cap"
    else:
        rows = PairExamples(name, read_pairs(sources, name))
        build, over_cap = partial(rows.build, instruction=instruction), "pairs_over_cap"
    if not rows.ids:
        raise InputError(
            f"source {name!r}: named in params.yaml, assemble.train_sources, but has no training rows; see its splits "
            f"in ingest.sources.{name}"
        )
    chosen = choose(rows.ids, params.caps.get(name), params.seed, "cap", name)
    rows.dropped[over_cap] += len(rows.ids) - len(chosen)
    bar = tqdm(chosen, desc=f"assemble {name}", unit="example", disable=None, leave=False)
    examples = [build(number) for number in bar]
    if audit:
        examples, found = audit.check(name, examples)
        rows.dropped.update({f"{what}_in_benchmarks": count for what, count in found.items()})
        if not examples:
            raise InputError(f"source {name!r}: all its training examples stand in benchmarks, see assemble.audit")
    entry = {
        "task": task,
        "examples": len(examples),
        "positives": sum(len(example.positives) for example in examples),
        "negatives": sum(len(example.negatives) for example in examples),
        "dropped": dict(rows.dropped),
    }
    if task == "ir":
        entry["examples_without_negatives"] = sum(not example.negatives for example in examples)
    return examples, entry
