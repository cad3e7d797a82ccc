"""Training examples and dev sets as ids of texts, and the token ids of those texts."""

import math
from collections.abc import Iterable, Iterator
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from codiemb_pipeline.artifacts.assemble import DevPairs, DevRetrieval, SourceRange, TokenStore, TrainingArrays
from codiemb_pipeline.artifacts.ingest import RetrievalTables, read_pairs, read_retrieval, task_of
from codiemb_pipeline.assemble.examples import choose
from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.encoder.tokens import TextTokenizer
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.assemble import AssembleParams
from codiemb_pipeline.progress import ProgressBar
from codiemb_pipeline.schema import TrainingExample

TEXTS_PER_BATCH = 1024


class TextRegister:
    """Numbers texts in the order of their first appearance; the same text behind another prefix is another text."""

    def __init__(self) -> None:
        self._ids: dict[str, dict[str, int]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, prefix: str, texts: Iterable[str]) -> np.ndarray:
        """Return the ids of ``texts`` behind ``prefix``, int64; new ones on their first appearance."""
        ids = self._ids.setdefault(prefix, {})
        found = []
        for text in texts:
            if text not in ids:
                ids[text] = self._count
                self._count += 1
            found.append(ids[text])
        return np.array(found, dtype=np.int64)

    def batches(self, size: int) -> Iterator[tuple[str, list[str], list[int]]]:
        """Yield prefix, texts and ids of at most ``size`` texts that share a prefix."""
        for prefix, ids in self._ids.items():
            texts, numbers = list(ids), list(ids.values())
            for start in range(0, len(texts), size):
                yield prefix, texts[start : start + size], numbers[start : start + size]


def write_tokens(register: TextRegister, tokenizer: TextTokenizer, folder: Path) -> np.ndarray:
    """Tokenise all texts of ``register`` into a :class:`TokenStore` in ``folder``.

    Returns:
        Number of tokens of each text, int64 (texts,).
    """
    rows: list[np.ndarray] = [np.empty(0, dtype=np.int32)] * len(register)
    prompt_lengths = np.zeros(len(register), dtype=np.int32)
    with ProgressBar(total=len(register), desc="tokenise", unit="texts") as bar:
        for prefix, texts, numbers in register.batches(TEXTS_PER_BATCH):
            token_ids, lengths = tokenizer.tokenize(texts, prefix)
            for number, ids in zip(numbers, token_ids, strict=True):
                rows[number] = np.asarray(ids, dtype=np.int32)
            prompt_lengths[numbers] = lengths
            bar.update(len(texts))
    TokenStore.write(folder, rows, prompt_lengths)
    return np.array([len(row) for row in rows], dtype=np.int64)


class TrainingSet:
    """Collects examples as ids of rendered texts, source by source."""

    def __init__(self, register: TextRegister, prompts: PromptBook) -> None:
        self._register, self._prompts = register, prompts
        self._query: list[int] = []
        self._positives: list[np.ndarray] = []
        self._negatives: list[np.ndarray] = []
        self._gold: list[float] = []
        self._sources: list[SourceRange] = []

    def add_source(self, examples: list[TrainingExample]) -> np.ndarray:
        """Append all examples of one source, at least one, and return the ids of its texts, each once, int64."""
        start, first = len(self._query), examples[0]
        query_prefix = self._prompts.prefix(first.task, "query", first.source)
        other_prefix = self._prompts.prefix(first.task, "document" if first.task == "ir" else "query", first.source)
        for example in examples:
            self._query += self._register.add(query_prefix, [example.query]).tolist()
            self._positives.append(self._register.add(other_prefix, example.positives))
            self._negatives.append(self._register.add(other_prefix, example.negatives))
            self._gold.append(example.scores[0] if example.scores else math.nan)
        self._sources.append(SourceRange(name=first.source, task=first.task, start=start, stop=len(self._query)))
        used = [np.array(self._query[start:], dtype=np.int64), *self._positives[start:], *self._negatives[start:]]
        return np.unique(np.concatenate(used))

    def write(self, folder: Path) -> None:
        """Write all examples."""
        TrainingArrays.write(
            folder,
            query=self._query,
            positives=self._positives,
            negatives=self._negatives,
            gold=self._gold,
            sources=self._sources,
        )


def dev_set(
    name: str, params: AssembleParams, prompts: PromptBook, sources: Path, register: TextRegister
) -> tuple[DevRetrieval | DevPairs, dict[str, Any]]:
    """Return the dev split of source ``name`` as text ids, and its counts for the manifest.

    Raises:
        InputError: the source does not exist, has no dev rows, or its qrels name an unknown document.
    """
    task = task_of(sources, name)
    tables = read_retrieval(sources, name) if task == "ir" else read_pairs(sources, name)
    rows = tables.of_split("dev")
    if rows.empty:
        raise InputError(
            f"source {name!r}: named in params.yaml, assemble.dev_sources, but has no dev rows; see its splits in "
            f"ingest.sources.{name}"
        )
    if task == "ir":
        return _dev_retrieval(name, tables, rows, params, prompts, register)
    prefix = prompts.prefix("sts", "query", name)
    sides = [register.add(prefix, rows[side]) for side in ("text_a", "text_b")]
    held_out = DevPairs(name, np.array(sides).T, rows["gold"].to_numpy(dtype=np.float32))
    return held_out, {"task": "sts", "pairs": len(rows), "dropped": {}}


def _dev_retrieval(
    name: str,
    tables: RetrievalTables,
    queries: pd.DataFrame,
    params: AssembleParams,
    prompts: PromptBook,
    register: TextRegister,
) -> tuple[DevRetrieval, dict[str, Any]]:
    """Search the relevant documents, and others up to ``dev_documents``."""
    qrels = tables.qrels[tables.qrels["query_id"].isin(queries["query_id"])]
    ids = pd.Index(tables.document_ids)
    searched = ids.isin(qrels["doc_id"])
    others = np.flatnonzero(~searched)
    room = None if params.dev_documents is None else max(0, params.dev_documents - int(searched.sum()))
    searched[others[choose(ids[others], room, params.seed, "dev", name)]] = True
    query_row = pd.Index(queries["query_id"]).get_indexer(qrels["query_id"])
    document_row = ids[searched].get_indexer(qrels["doc_id"])
    if (document_row < 0).any():
        found = qrels["doc_id"].iloc[int(np.flatnonzero(document_row < 0)[0])]
        raise InputError(f"source {name!r}: qrels: doc_id: expected a known id, found {found!r}; run ingest again")
    by_row = np.stack([query_row, document_row, qrels["relevance"].to_numpy(dtype=np.int64)], axis=1)
    query_prefix, document_prefix = (prompts.prefix("ir", role, name) for role in ("query", "document"))
    held_out = DevRetrieval(
        name,
        register.add(query_prefix, queries["text"]),
        register.add(document_prefix, compress(tables.document_texts(), searched)),
        by_row[np.lexsort(by_row.T[::-1])],
    )
    sizes = {"queries": len(queries), "documents": int(searched.sum()), "qrels": len(qrels)}
    return held_out, {"task": "ir", **sizes, "dropped": {"documents_over_limit": int((~searched).sum())}}
