"""Rows of a source become training examples: queries with their positives and mined negatives, or scored pairs."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from codiemb_pipeline.artifacts.ingest import RetrievalTables, read_pairs, read_retrieval, task_of
from codiemb_pipeline.assemble.contamination import Audit
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_jsonl
from codiemb_pipeline.params.assemble import AssembleParams
from codiemb_pipeline.progress import ProgressBar
from codiemb_pipeline.schema import TrainingExample
from codiemb_pipeline.texts import hash_share, pair_key, text_key


def choose(ids: Sequence[str], cap: int | None, seed: int, *purpose: str) -> list[int]:
    """Return the indices of at most ``cap`` of ``ids``, in order; all of them for ``None``.

    Each id has a fixed random number and the lowest win. The choice depends on the ids alone, grows with the cap, and
    changes little when ids are added or removed.
    """
    if cap is None or len(ids) <= cap:
        return list(range(len(ids)))
    return sorted(sorted(range(len(ids)), key=lambda index: hash_share(seed, *purpose, ids[index]))[:cap])


def source_examples(
    name: str, params: AssembleParams, sources: Path, hard_negatives: Path, audit: Audit | None = None
) -> tuple[list[TrainingExample], dict[str, Any]]:
    """Return the training examples of source ``name`` in the order of its tables, and their counts for the manifest.

    Raises:
        InputError: the source does not exist or has no training rows, its tables repeat a text, its hard negatives do
            not fit it, or the audit removes all of it.
    """
    task = task_of(sources, name)
    if task == "ir":
        tables, columns, over_cap = read_retrieval(sources, name), ["query_id", "text"], "queries_over_cap"
    else:
        tables, columns, over_cap = read_pairs(sources, name), ["pair_id", "text_a", "text_b", "gold"], "pairs_over_cap"
    rows = tables.of_split("train")[columns]
    if rows.empty:
        raise InputError(
            f"source {name!r}: named in params.yaml, assemble.train_sources, but has no training rows; see its splits "
            f"in ingest.sources.{name}"
        )
    _check_distinct(name, rows)
    chosen = rows.iloc[choose(rows[columns[0]].tolist(), params.caps.get(name), params.seed, "cap", name)]
    dropped = {over_cap: len(rows) - len(chosen)}
    values = chosen.itertuples(index=False, name=None)
    bar = ProgressBar(values, f"assemble {name}", len(chosen), unit="examples")
    if task == "ir":
        retrieval = RetrievalExamples(name, tables, hard_negatives / f"{name}.jsonl", params)
        examples = [retrieval.build(*row) for row in bar]
        dropped |= retrieval.dropped
    else:
        examples = [pair_example(name, *row) for row in bar]
    if audit:
        examples, removed = audit.check(name, examples)
        dropped |= {f"{what}_in_benchmarks": count for what, count in removed.items()}
        if not examples:
            raise InputError(f"source {name!r}: all its training examples stand in benchmarks, see assemble.audit")
    counts = {
        "task": task,
        "examples": len(examples),
        "positives": sum(len(example.positives) for example in examples),
        "negatives": sum(len(example.negatives) for example in examples),
        "dropped": dropped,
    }
    if task == "ir":
        counts["examples_without_negatives"] = sum(not example.negatives for example in examples)
    return examples, counts


class RetrievalExamples:
    """Makes the examples of a retrieval source's training queries; ``dropped`` counts texts left out, by reason."""

    def __init__(self, name: str, tables: RetrievalTables, negatives_file: Path, params: AssembleParams) -> None:
        """Read the documents, the qrels and the hard negatives.

        Args:
            name: of the source.
            tables: what ``ingest`` wrote.
            negatives_file: what ``mine`` wrote for the source.
            params: limits of positives and negatives.

        Raises:
            InputError: the file is missing.
        """
        if not negatives_file.exists():
            raise InputError(f"source {name!r}: expected its hard negatives at {negatives_file}, found none; run mine")
        self._name, self._file, self._params = name, negatives_file, params
        self._mined = {row["query_id"]: row["negatives"] for row in read_jsonl(negatives_file)}
        self._documents = dict(zip(tables.document_ids, tables.document_texts(), strict=True))
        qrels = tables.qrels.sort_values("relevance", ascending=False, kind="stable")
        self._relevant = qrels.groupby("query_id")["doc_id"].agg(list).to_dict()
        self.dropped = Counter({"positives_repeated": 0, "positives_over_limit": 0, "negatives_over_limit": 0})

    def build(self, query_id: str, query: str) -> TrainingExample:
        """Return the example of a query.

        Positives are sorted by relevance, then as the qrels are; of equal texts (``texts.text_key``) the first is kept.
        Negatives keep the order of mining.

        Raises:
            InputError: a document is unknown, or the negatives lack the query or repeat a text of the example.
        """
        if query_id not in self._mined:
            raise InputError(f"{self._file}: expected a row for query {query_id!r}, found none; run mine again")
        relevant = self._relevant.get(query_id, [])
        texts = [self._text(document_id, f"source {self._name!r}: qrels") for document_id in relevant]
        positives: dict[str, str] = {}
        for text in texts:
            positives.setdefault(text_key(text), text)
        negatives: dict[str, str] = {}
        for document_id in self._mined[query_id]:
            text = self._text(document_id, self._file)
            key = text_key(text)
            if key in positives or key in negatives or key == text_key(query):
                raise InputError(
                    f"{self._file}: query {query_id!r}: negatives: expected no text of the query, of a positive or of "
                    f"another negative, found that of document {document_id!r}; run mine again"
                )
            negatives[key] = text
        most_positives, most_negatives = self._params.max_positives, self._params.max_negatives
        self.dropped["positives_repeated"] += len(texts) - len(positives)
        self.dropped["positives_over_limit"] += max(0, len(positives) - most_positives)
        self.dropped["negatives_over_limit"] += max(0, len(negatives) - most_negatives)
        return TrainingExample(
            task="ir",
            query=query,
            positives=tuple(positives.values())[:most_positives],
            negatives=tuple(negatives.values())[:most_negatives],
            scores=(),
            id=query_id,
            source=self._name,
        )

    def _text(self, document_id: str, where: Path | str) -> str:
        if document_id not in self._documents:
            found = f"found {document_id!r}; run ingest and mine again"
            raise InputError(f"{where}: doc_id: expected a document of source {self._name!r}, {found}")
        return self._documents[document_id]


def pair_example(source: str, pair_id: str, text_a: str, text_b: str, gold: float) -> TrainingExample:
    """Return a scored pair as an example."""
    return TrainingExample(
        task="sts", query=text_a, positives=(text_b,), negatives=(), scores=(gold,), id=pair_id, source=source
    )


def _check_distinct(name: str, rows: pd.DataFrame) -> None:
    """Raise InputError if two training queries or pairs have the same text, of which ``ingest`` leaves one."""
    first_of: dict[object, str] = {}
    for row_id, *texts in rows.drop(columns="gold", errors="ignore").itertuples(index=False, name=None):
        first = first_of.setdefault(text_key(*texts) if len(texts) == 1 else pair_key(*texts), row_id)
        if first != row_id:
            raise InputError(
                f"source {name!r}: split 'train': expected each text once, found {row_id!r} to repeat {first!r}; "
                f"run ingest again"
            )
