"""The paper's 15 benchmarks as mteb's own tasks, read from the hub at the pinned revision or from a folder.

Only the pinned split is scored. The cache also keeps sizes and gold scores, so that finished results need neither the
data nor mteb.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from codiemb_pipeline.benchmarks.data import Location, PairRows, RetrievalRows, location_of, open_rows
from codiemb_pipeline.evaluate.benchmark import GOOD_GOLD
from codiemb_pipeline.evaluate.cache import ResultCache
from codiemb_pipeline.evaluate.per_item_scores import rounded
from codiemb_pipeline.params.evaluate import MtebBenchmark

SCORES_AT_ONCE = 2**28
"""Similarities held at a time while a corpus is searched: 1 GiB."""
DOCUMENTS_AT_ONCE = 50_000
"""mteb's own limit of documents encoded at a time."""


class HubBenchmark:
    """One of the paper's benchmarks; the methods are described in ``Benchmark``.

    Raises:
        InputError: its folder does not exist.
    """

    def __init__(self, name: str, entry: MtebBenchmark, cache: ResultCache) -> None:
        self.location: Location = location_of(name, entry.path, entry.revision)
        self.name, self.kind, self.split = name, self.location.spec.type, self.location.spec.split
        self.revision = self.location.revision
        self._cache = cache

    @cached_property
    def rows(self) -> RetrievalRows | PairRows:
        """The data, mapped from disk.

        Raises:
            InputError: it can't be read; names the benchmark.
        """
        return open_rows(self.location)

    @cached_property
    def _known(self) -> dict[str, Any]:
        key = {"facts of": self.name, "data": self.revision}
        return self._cache.get(key, lambda: {"size": self.rows.size, "gold": self._gold()})

    def _gold(self) -> list[float] | None:
        return rounded(self.rows.gold()) if isinstance(self.rows, PairRows) else None

    @property
    def size(self) -> dict[str, int]:
        """Numbers of queries and documents, or of pairs."""
        return self._known["size"]

    @property
    def definition(self) -> dict[str, Any]:
        """The definition leaves out the place of the data: a moved folder gives the same results."""
        return {"type": "mteb", "split": self.split, "metric": self.location.spec.metric}

    @property
    def facts(self) -> dict[str, Any]:
        """The facts; ``full`` means that the data has as many rows as the registry records."""
        spec = self.location.spec
        return {
            "type": spec.type,
            "metric": spec.metric,
            "split": spec.split,
            "hub_id": spec.hub_id,
            "revision": self.revision,
            "full": self.size == spec.size,
        }

    def open(self) -> None:
        """Check that the data can be read; download it where it is missing from the hub's cache."""
        _ = self.rows

    def make_task(self) -> Any:
        """Return mteb's task for the pinned split and revision, or for the folder."""
        import mteb

        task = mteb.get_task(self.name, eval_splits=[self.split])
        dataset = {**task.metadata.dataset, "path": self.location.path, "revision": self.revision}
        task.metadata = task.metadata.model_copy(update={"dataset": dataset})
        return task

    def query_ids(self) -> list[str]:
        """Return the ids of the queries that are scored, in order."""
        return [query for query, _ in self.rows.scored_queries] if isinstance(self.rows, RetrievalRows) else []

    def gold(self) -> list[float] | None:
        """Return the human scores of the pairs in [0, 1], in order; ``None`` for retrieval."""
        return self._known["gold"]

    def texts(self) -> Iterator[str]:
        """Yield every text."""
        if isinstance(self.rows, PairRows):
            yield from (text for pair in self.rows.texts() for text in pair)
            return
        yield from (text for _, text in self.rows.documents())
        yield from (text for _, text in self.rows.scored_queries)

    def positive_pairs(self) -> Iterator[tuple[str, str]]:
        """Yield a query and a relevant document, or a pair of high gold score."""
        if isinstance(self.rows, PairRows):
            golds = self.rows.gold()
            yield from (pair for pair, gold in zip(self.rows.texts(), golds, strict=True) if gold >= GOOD_GOLD)
            return
        query_text = dict(self.rows.scored_queries)
        asked_by: dict[str, list[str]] = {}
        for query, judged in self.rows.qrels.items():
            for document, score in judged.items():
                if score > 0 and query in query_text:
                    asked_by.setdefault(document, []).append(query)
        for document, text in self.rows.documents():
            yield from ((query_text[query], text) for query in asked_by.get(document, ()))


def searching(model: Any, benchmark: HubBenchmark) -> Any:
    """Return ``model`` wrapped for mteb's search, with a chunk of documents that bounds the similarities in memory."""
    from mteb.models import SearchEncoderWrapper

    documents = max(1, SCORES_AT_ONCE // benchmark.size["queries"])
    return SearchEncoderWrapper(model, corpus_chunk_size=min(DOCUMENTS_AT_ONCE, documents))
