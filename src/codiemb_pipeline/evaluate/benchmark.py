"""The benchmarks that models are evaluated on: a split of a source, or one of the paper's 15, as tasks of mteb."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from pandas.util import hash_pandas_object

from codiemb_pipeline.artifacts.ingest import read_retrieval
from codiemb_pipeline.benchmarks.data import Location, PairRows, RetrievalRows, location_of, open_rows, pairs_of
from codiemb_pipeline.benchmarks.registry import METRICS
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.evaluate.cache import ResultCache
from codiemb_pipeline.params.evaluate import EvaluateParams, LocalRetrieval, LocalSTS, MtebBenchmark

GOOD_GOLD = 0.8
"""Pairs with this gold score or more count as positive pairs."""


class Benchmark(ABC):
    """A benchmark that models are evaluated on.

    Attributes:
        name: of the benchmark and of its mteb task.
        kind: ``retrieval`` or ``sts``.
        split: the split that is scored.
        revision: changes whenever the data does.
        size: numbers of queries and documents, or of pairs.
        gold: the human scores of the pairs in [0, 1], in order; ``None`` for retrieval.
        definition: what a result depends on besides the data and the model.
        facts: what the results record about the benchmark, except its size: fields of ``BenchmarkFacts``.
        rows: the data, opened on first use.
    """

    name: str
    kind: str
    split: str
    revision: str
    size: dict[str, int]
    gold: list[float] | None
    definition: dict[str, Any]
    facts: dict[str, Any]
    rows: RetrievalRows | PairRows

    @abstractmethod
    def make_task(self) -> Any:
        """Return the mteb task."""

    def query_ids(self) -> list[str]:
        """Return the ids of the queries that are scored, in order."""
        return [query for query, _ in self.rows.scored_queries] if isinstance(self.rows, RetrievalRows) else []

    def texts(self) -> Iterator[str]:
        """Yield every text."""
        if isinstance(self.rows, PairRows):
            yield from (text for pair in self.rows.texts() for text in pair)
            return
        yield from (text for _, text in self.rows.documents())
        yield from (text for _, text in self.rows.scored_queries)

    def positive_pairs(self) -> Iterator[tuple[str, str]]:
        """Yield texts that belong together: a query and a relevant document, or a pair of high gold score."""
        if isinstance(self.rows, PairRows):
            golds = self.rows.gold()
            yield from (pair for pair, gold in zip(self.rows.texts(), golds, strict=True) if gold >= GOOD_GOLD)
            return
        query_text = dict(self.rows.scored_queries)
        asked_by: dict[str, list[str]] = {}
        for query, relevances in self.rows.qrels.items():
            for document, score in relevances.items():
                if score > 0 and query in query_text:
                    asked_by.setdefault(document, []).append(query)
        for document, text in self.rows.documents():
            yield from ((query_text[query], text) for query in asked_by.get(document, ()))


class SourceBenchmark(Benchmark):
    """A split of a source, against its whole corpus in retrieval. The data comes from ``ingest``, never from a hub.

    Raises:
        InputError: the source does not exist, or the split is empty.
    """

    def __init__(self, name: str, params: LocalRetrieval | LocalSTS, sources: Path) -> None:
        self.name, self.kind, self.split = name, params.type, params.split
        self.definition = params.model_dump()
        self.facts = {"type": self.kind, "metric": METRICS[self.kind], "source": params.source, "split": self.split}
        if isinstance(params, LocalSTS):
            self._tables = {"pairs": pairs_of(params, sources)}
        else:
            self._source = read_retrieval(sources, params.source)
            queries, qrels = self._source.of_split(params.split), self._source.qrels
            qrels = qrels[qrels["query_id"].isin(queries["query_id"])].reset_index(drop=True)
            self._tables = {"queries": queries, "corpus": self._source.corpus, "qrels": qrels}
        if any(table.empty for table in self._tables.values()):
            raise InputError(
                f"params.yaml: evaluate.benchmarks.{name}: source {params.source!r} has no rows in split "
                f"{params.split!r}; give it a share in ingest.sources.{params.source}.splits"
            )
        if self.kind == "sts":
            self.gold = self._tables["pairs"]["gold"].tolist()
            self.size = {"pairs": len(self.gold)}
        else:
            self.gold = None
            self.size = {"queries": qrels["query_id"].nunique(), "documents": len(self._tables["corpus"])}
        digest = hashlib.sha256()
        for table_name, table in self._tables.items():
            digest.update(table_name.encode() + hash_pandas_object(table, index=False).to_numpy().tobytes())
        self.revision = digest.hexdigest()

    @cached_property
    def rows(self) -> RetrievalRows | PairRows:
        """The data as tables of ``datasets``; title and text are joined here, so mteb does not join them."""
        from datasets import Dataset

        tables = self._tables
        if self.kind == "sts":
            columns = {"sentence1": "text_a", "sentence2": "text_b", "score": "gold"}
            pairs = {name: tables["pairs"][column].tolist() for name, column in columns.items()}
            return PairRows(Dataset.from_dict(pairs), (0, 1))
        queries = {"id": tables["queries"]["query_id"].tolist(), "text": tables["queries"]["text"].tolist()}
        corpus = {"id": tables["corpus"]["doc_id"].tolist(), "text": list(self._source.document_texts())}
        qrels: dict[str, dict[str, int]] = {}
        for query_id, doc_id, relevance in tables["qrels"].itertuples(index=False):
            qrels.setdefault(query_id, {})[doc_id] = int(relevance)
        return RetrievalRows(Dataset.from_dict(queries), Dataset.from_dict(corpus), qrels)

    def make_task(self) -> Any:
        """Return the benchmark as an mteb task with its data loaded."""
        from datasets import DatasetDict
        from mteb import TaskMetadata
        from mteb.abstasks import AbsTaskRetrieval, AbsTaskSTS

        source, split, rows = self.facts["source"], self.split, self.rows
        if isinstance(rows, PairRows):
            base, kind, data = AbsTaskSTS, "STS", DatasetDict({split: rows.pairs})
        else:
            qrels = {query: dict(relevances) for query, relevances in rows.qrels.items()}
            tables = {"queries": rows.queries, "corpus": rows.corpus, "relevant_docs": qrels, "top_ranked": None}
            base, kind, data = AbsTaskRetrieval, "Retrieval", {"default": {split: tables}}

        class SourceTask(base):
            metadata = TaskMetadata(
                name=self.name,
                description=f"{source}, split {split}, read by codiemb-pipeline",
                type=kind,
                dataset={"path": f"codiemb/{source}", "revision": self.revision},
                eval_splits=[split],
                eval_langs=["eng-Latn"],
                main_score=METRICS[self.kind],
                modalities=["text"],
            )
            min_score, max_score = 0, 1  # of the gold scores of pairs

            def load_data(self, num_proc: int | None = None, **_: Any) -> None:
                self.dataset = data
                self.data_loaded = True

        return SourceTask()


class HubBenchmark(Benchmark):
    """One of the paper's benchmarks as mteb's own task, from the hub at the pinned revision or from a folder.

    Only the pinned split is scored. The cache also keeps sizes and gold scores, so that finished results need neither
    the data nor mteb.

    Raises:
        InputError: its folder does not exist.
    """

    def __init__(self, name: str, entry: MtebBenchmark, cache: ResultCache) -> None:
        self.location: Location = location_of(name, entry.path, entry.revision)
        self.name, self.kind, self.split = name, self.location.spec.type, self.location.spec.split
        self.revision = self.location.revision
        # The place of the data is left out: a moved folder gives the same results.
        self.definition = {"type": "mteb", "split": self.split, "metric": self.location.spec.metric}
        self._cache = cache

    @cached_property
    def rows(self) -> RetrievalRows | PairRows:
        """The data, mapped from disk; the hub's is fetched if it is not in the cache.

        Raises:
            InputError: it can't be read; names the benchmark.
        """
        return open_rows(self.location)

    @cached_property
    def _known(self) -> dict[str, Any]:
        def read() -> dict[str, Any]:
            return {"size": self.rows.size, "gold": self.rows.gold() if isinstance(self.rows, PairRows) else None}

        return self._cache.get({"facts of": self.name, "data": self.revision}, read)

    @property
    def size(self) -> dict[str, int]:
        """Numbers of queries and documents, or of pairs."""
        return self._known["size"]

    @property
    def gold(self) -> list[float] | None:
        """The human scores of the pairs in [0, 1]; ``None`` for retrieval."""
        return self._known["gold"]

    @property
    def facts(self) -> dict[str, Any]:
        """The facts; ``full`` means that the data has as many rows as the registry records."""
        spec, shared = self.location.spec, {"hub_id": self.location.spec.hub_id, "revision": self.revision}
        return {"type": spec.type, "metric": spec.metric, "split": spec.split, **shared, "full": self.size == spec.size}

    def make_task(self) -> Any:
        """Return mteb's task for the pinned split and revision, or for the folder."""
        import mteb

        task = mteb.get_task(self.name, eval_splits=[self.split])
        dataset = {**task.metadata.dataset, "path": str(self.location.place), "revision": self.revision}
        task.metadata = task.metadata.model_copy(update={"dataset": dataset})
        return task


def read_benchmarks(params: EvaluateParams, sources: Path, cache: ResultCache) -> list[Benchmark]:
    """Return the benchmarks in the order of params.yaml.

    Raises:
        InputError: a source or folder does not exist, or a split is empty.
    """
    return [
        HubBenchmark(name, entry, cache) if isinstance(entry, MtebBenchmark) else SourceBenchmark(name, entry, sources)
        for name, entry in params.benchmarks.items()
    ]
