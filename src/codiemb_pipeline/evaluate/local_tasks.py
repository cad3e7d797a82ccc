"""Benchmarks made of a source's own split, as mteb tasks. Reads what ``ingest`` wrote, nothing from a hub."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.util import hash_pandas_object

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.evaluate import LocalRetrieval, LocalSTS
from codiemb_pipeline.source_tables import read_pairs, read_retrieval
from codiemb_pipeline.texts import pair_key

METRICS = {"retrieval": "ndcg_at_10", "sts": "cosine_spearman"}


@dataclass(frozen=True)
class BenchmarkData:
    """The rows a benchmark is scored on.

    Attributes:
        name: of the benchmark, and of its mteb task.
        params: its definition.
        tables: ``queries``, ``corpus``, ``qrels``, or ``pairs``.
        revision: hash of the rows.
    """

    name: str
    params: LocalRetrieval | LocalSTS
    tables: dict[str, pd.DataFrame]
    revision: str

    @property
    def size(self) -> dict[str, int]:
        """Numbers of queries and documents, or of pairs."""
        shown = {"queries": "queries", "corpus": "documents", "pairs": "pairs"}
        return {shown[name]: len(table) for name, table in self.tables.items() if name in shown}


def read_benchmark(name: str, params: LocalRetrieval | LocalSTS, sources: Path) -> BenchmarkData:
    """Read the rows of a benchmark.

    Raises:
        InputError: its source does not exist, or its split is empty.
    """
    if params.type == "retrieval":
        source = read_retrieval(sources, params.source)
        queries = source.of_split(params.split)
        qrels = source.qrels[source.qrels["query_id"].isin(set(queries["query_id"]))].reset_index(drop=True)
        tables = {"queries": queries, "corpus": source.corpus, "qrels": qrels}
    else:
        tables = {"pairs": _pairs(params, sources)}
    if any(table.empty for table in tables.values()):
        raise InputError(
            f"params.yaml: evaluate.benchmarks.{name}: source {params.source!r} has nothing in split {params.split!r}; "
            f"give it a share in ingest.sources.{params.source}.splits"
        )
    return BenchmarkData(name, params, tables, _revision(tables))


def _pairs(params: LocalSTS, sources: Path) -> pd.DataFrame:
    pairs = read_pairs(sources, params.source).of_split(params.split)
    keys = [pair_key(a, b) for a, b in zip(pairs["text_a"], pairs["text_b"], strict=True)]
    known: set[tuple[str, str]] = set()
    for other in params.without_pairs_of:
        table = read_pairs(sources, other).pairs
        known |= {pair_key(a, b) for a, b in zip(table["text_a"], table["text_b"], strict=True)}
    return pairs[[key not in known for key in keys]].reset_index(drop=True)


def _revision(tables: dict[str, pd.DataFrame]) -> str:
    digest = hashlib.sha256()
    for name, table in tables.items():
        digest.update(name.encode() + hash_pandas_object(table, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def make_task(benchmark: BenchmarkData) -> Any:
    """Return the benchmark as an mteb task with its data loaded."""
    return _retrieval_task(benchmark) if benchmark.params.type == "retrieval" else _sts_task(benchmark)


def _metadata(benchmark: BenchmarkData, kind: str) -> Any:
    from mteb import TaskMetadata

    return TaskMetadata(
        name=benchmark.name,
        description=f"{benchmark.params.source}, split {benchmark.params.split}, read by codiemb-pipeline",
        type=kind,
        dataset={"path": f"codiemb/{benchmark.params.source}", "revision": benchmark.revision},
        eval_splits=[benchmark.params.split],
        eval_langs=["eng-Latn"],
        main_score=METRICS[benchmark.params.type],
        modalities=["text"],
    )


def _retrieval_task(benchmark: BenchmarkData) -> Any:
    from datasets import Dataset
    from mteb.abstasks import AbsTaskRetrieval

    queries, corpus = benchmark.tables["queries"], benchmark.tables["corpus"]
    judgements: dict[str, dict[str, int]] = {}
    for query_id, doc_id, relevance in benchmark.tables["qrels"].itertuples(index=False):
        judgements.setdefault(query_id, {})[doc_id] = int(relevance)
    data = {
        "queries": Dataset.from_dict({"id": queries["query_id"].tolist(), "text": queries["text"].tolist()}),
        # Joined here by the rule every stage uses, so that mteb has nothing to join.
        "corpus": Dataset.from_dict({"id": corpus["doc_id"].tolist(), "text": _joined(corpus)}),
        "relevant_docs": judgements,
        "top_ranked": None,
    }

    class LocalRetrievalTask(AbsTaskRetrieval):
        metadata = _metadata(benchmark, "Retrieval")

        def load_data(self, num_proc: int | None = None, **_: Any) -> None:
            self.dataset = {"default": {benchmark.params.split: data}}
            self.data_loaded = True

    return LocalRetrievalTask()


def _joined(corpus: pd.DataFrame) -> list[str]:
    return (corpus["title"].str.strip() + " " + corpus["text"].str.strip()).str.strip().tolist()


def _sts_task(benchmark: BenchmarkData) -> Any:
    from datasets import Dataset, DatasetDict
    from mteb.abstasks import AbsTaskSTS

    pairs = benchmark.tables["pairs"]
    columns = {"sentence1": pairs["text_a"], "sentence2": pairs["text_b"], "score": pairs["gold"]}
    data = DatasetDict({benchmark.params.split: Dataset.from_dict({k: v.tolist() for k, v in columns.items()})})

    class LocalSTSTask(AbsTaskSTS):
        metadata = _metadata(benchmark, "STS")
        min_score, max_score = 0, 1

        def load_data(self, num_proc: int | None = None, **_: Any) -> None:
            self.dataset = data
            self.data_loaded = True

    return LocalSTSTask()
