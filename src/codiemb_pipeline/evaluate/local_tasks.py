"""Benchmarks made of a source's own split, as mteb tasks. The data comes from ``ingest``, never from a hub."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.util import hash_pandas_object

from codiemb_pipeline.artifacts.ingest import read_retrieval
from codiemb_pipeline.benchmarks.data import pairs_of
from codiemb_pipeline.benchmarks.registry import METRICS
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.evaluate.benchmark import GOOD_GOLD
from codiemb_pipeline.evaluate.per_item_scores import rounded
from codiemb_pipeline.params.evaluate import LocalRetrieval, LocalSTS


@dataclass(frozen=True)
class BenchmarkData:
    """The rows of a benchmark; the methods are described in ``Benchmark``.

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
    def kind(self) -> str:
        """``retrieval`` or ``sts``."""
        return self.params.type

    @property
    def split(self) -> str:
        """The split that is scored."""
        return self.params.split

    @property
    def size(self) -> dict[str, int]:
        """Numbers of queries and documents, or of pairs."""
        shown = {"queries": "queries", "corpus": "documents", "pairs": "pairs"}
        return {shown[name]: len(table) for name, table in self.tables.items() if name in shown}

    @property
    def definition(self) -> dict[str, Any]:
        """What a result depends on besides the data and the model."""
        return self.params.model_dump()

    @property
    def facts(self) -> dict[str, Any]:
        """What the results record about the benchmark, except its size."""
        params = self.params
        return {"type": params.type, "metric": METRICS[params.type], "source": params.source, "split": params.split}

    def open(self) -> None:
        """Do nothing: the rows are in memory."""

    def make_task(self) -> Any:
        """Return the benchmark as an mteb task with its data loaded."""
        return _retrieval_task(self) if self.params.type == "retrieval" else _sts_task(self)

    def query_ids(self) -> list[str]:
        """Return the ids of the queries with a relevance judgement, in order."""
        judged = set(self.tables["qrels"]["query_id"])
        return [query for query in self.tables["queries"]["query_id"] if query in judged]

    def gold(self) -> list[float] | None:
        """Return the human scores of the pairs in [0, 1], in order; ``None`` for retrieval."""
        return rounded(self.tables["pairs"]["gold"].tolist()) if self.kind == "sts" else None

    def texts(self) -> Iterator[str]:
        """Yield every text."""
        if self.kind == "sts":
            yield from self.tables["pairs"]["text_a"]
            yield from self.tables["pairs"]["text_b"]
        else:
            yield from _joined(self.tables["corpus"])
            yield from self.tables["queries"]["text"]

    def positive_pairs(self) -> Iterator[tuple[str, str]]:
        """Yield a query and a relevant document, or a pair of high gold score."""
        tables = self.tables
        if self.kind == "sts":
            good = tables["pairs"][tables["pairs"]["gold"] >= GOOD_GOLD]
            yield from zip(good["text_a"], good["text_b"], strict=True)
            return
        document = dict(zip(tables["corpus"]["doc_id"], _joined(tables["corpus"]), strict=True))
        query = dict(zip(tables["queries"]["query_id"], tables["queries"]["text"], strict=True))
        for asked, found, _ in tables["qrels"].itertuples(index=False):
            yield query[asked], document[found]


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
        tables = {"pairs": pairs_of(params, sources)}
    if any(table.empty for table in tables.values()):
        raise InputError(
            f"params.yaml: evaluate.benchmarks.{name}: source {params.source!r} has no rows in split {params.split!r}; "
            f"give it a share in ingest.sources.{params.source}.splits"
        )
    return BenchmarkData(name, params, tables, _revision(tables))


def _revision(tables: dict[str, pd.DataFrame]) -> str:
    digest = hashlib.sha256()
    for name, table in tables.items():
        digest.update(name.encode() + hash_pandas_object(table, index=False).to_numpy().tobytes())
    return digest.hexdigest()


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
        # Title and text are joined here, as in every stage, so that mteb does not join them.
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
