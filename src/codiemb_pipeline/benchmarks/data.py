"""The data of a benchmark: its location (the hub at the pinned revision, or a folder of the same layout), rows, texts.

What the hub has is fetched as it stands and read as a folder. Rows are opened through ``datasets`` with the same calls
as mteb's, so that both share one prepared copy below ``HF_HOME``; they are mapped from disk, never held as a whole.
"""

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from codiemb_pipeline.artifacts.ingest import read_pairs, read_retrieval
from codiemb_pipeline.benchmarks.registry import BenchmarkSpec, spec_of
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.hub import Repository
from codiemb_pipeline.locations import folder_digest, resolve
from codiemb_pipeline.params.evaluate import Benchmark, LocalRetrieval, LocalSTS, MtebBenchmark
from codiemb_pipeline.texts import pair_key

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

LAYOUTS = {
    "retrieval": "a README.md whose configs are corpus (_id, title, text), queries (_id, text) and default "
    "(query-id, corpus-id, score), each with split {split!r}, as parquet or jsonl",
    "sts": "columns sentence1, sentence2 and score in split {split!r}, as parquet or jsonl",
}
ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class Location:
    """Where a benchmark is read from: a folder, or the hub if ``folder`` is ``None``.

    ``copy_of`` is the commit that a folder is known to be a copy of.
    """

    spec: BenchmarkSpec
    folder: Path | None
    copy_of: str | None = None

    @cached_property
    def place(self) -> Path:
        """The folder; what the hub has is fetched first, or found in its cache.

        Raises:
            InputError: the hub does not give it (:meth:`Repository.fetch`).
        """
        if self.folder is not None:
            return self.folder
        by_hand = f"set it to a folder that holds the data set: {self._layout}"
        return Repository(self.spec.hub_id, "dataset", self.spec.revision).fetch(field=self._field, by_hand=by_hand)

    @cached_property
    def revision(self) -> str:
        """The pinned commit of the hub; for a folder its ``copy_of``, or ``local-`` and a digest of its files."""
        if self.folder is None:
            return self.spec.revision
        return self.copy_of or f"local-{folder_digest(self.folder)[:32]}"

    @property
    def _field(self) -> str:
        return f"evaluate.benchmarks.{self.spec.name}.path"

    @property
    def _layout(self) -> str:
        return LAYOUTS[self.spec.type].format(split=self.spec.split)

    def unreadable(self, reason: object) -> InputError:
        """Return the error for data that can't be read or has another layout."""
        text = _described(reason) if isinstance(reason, BaseException) else str(reason)
        where = f"params.yaml: {self._field}: benchmark {self.spec.name}"
        return InputError(f"{where}: expected {self._layout}; {self.place}: {text}")


def location_of(name: str, path: str | None, copy_of: str | None = None) -> Location:
    """Return the location of benchmark ``name``, given its ``path`` and ``revision`` in params.yaml.

    Raises:
        InputError: the folder does not exist.
    """
    spec = spec_of(name)
    if path is None:
        return Location(spec, None)
    field = f"evaluate.benchmarks.{name}.path"
    folder = resolve(path, field=field).absolute()
    if not folder.is_dir():
        raise InputError(f"params.yaml: {field}: expected a folder, found a file at {folder}")
    return Location(spec, folder, copy_of)


def _described(error: BaseException) -> str:
    """Return the kind and first line of an error and of its causes, where ``datasets`` puts the reason."""
    text = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    return f"{text} ({_described(error.__cause__)})" if error.__cause__ else text


@dataclass(frozen=True)
class RetrievalRows:
    """Queries, documents and qrels of a retrieval benchmark.

    Attributes:
        queries: columns ``id``, ``text``.
        corpus: columns ``id``, ``text``, and ``title`` if there is one.
        qrels: relevance by document by query; held in memory.
    """

    queries: "Dataset"
    corpus: "Dataset"
    qrels: dict[str, dict[str, int]]

    @cached_property
    def scored_queries(self) -> list[tuple[str, str]]:
        """Id and text of the queries that have qrels, in order: mteb skips the others."""
        found = ((str(query), text) for query, text in rows_of(self.queries, "id", "text"))
        return [(query, text) for query, text in found if query in self.qrels]

    def documents(self) -> Iterator[tuple[str, str]]:
        """Yield id and text of every document, title and text joined as mteb joins them."""
        columns = [column for column in ("id", "title", "text") if column in self.corpus.column_names]
        for document, *title, text in rows_of(self.corpus, *columns):
            yield str(document), " ".join([*filter(None, title), text]).strip()

    @property
    def size(self) -> dict[str, int]:
        """Numbers of scored queries and of documents."""
        return {"queries": len(self.scored_queries), "documents": len(self.corpus)}


@dataclass(frozen=True)
class PairRows:
    """Pairs of a similarity benchmark: columns ``sentence1``, ``sentence2``, ``score``."""

    pairs: "Dataset"
    score_range: tuple[int, int]

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield the two texts of every pair."""
        yield from rows_of(self.pairs, "sentence1", "sentence2")

    def gold(self) -> list[float]:
        """Return the scores in [0, 1], in order."""
        low, high = self.score_range
        return [(float(score) - low) / (high - low) for (score,) in rows_of(self.pairs, "score")]

    @property
    def size(self) -> dict[str, int]:
        """The number of pairs."""
        return {"pairs": len(self.pairs)}


def rows_of(table: "Dataset", *columns: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table as tuples of ``columns``, read block by block."""
    for block in table.select_columns(list(columns)).with_format("arrow").iter(ROWS_AT_ONCE):
        yield from zip(*(block[column].to_pylist() for column in columns), strict=True)


def open_rows(location: Location) -> RetrievalRows | PairRows:
    """Open the scored split of the benchmark at ``location``.

    Raises:
        InputError: the network, a file, a config, a split, a column or all rows are missing; names the benchmark.
    """
    import datasets

    datasets.disable_progress_bars()
    try:
        found = _open_retrieval(location) if location.spec.type == "retrieval" else _open_pairs(location)
    except InputError:
        raise
    except Exception as error:  # the hub, the network and every file format raise errors of their own
        raise location.unreadable(error) from error
    if not all(found.size.values()):
        raise location.unreadable(f"found {found.size}")
    return found


def _open_retrieval(location: Location) -> RetrievalRows:
    from datasets import get_dataset_config_names

    configs = get_dataset_config_names(str(location.place), location.revision)
    config = next((name for name in ("default", "qrels") if name in configs), None)
    if config is None or not {"corpus", "queries"} <= set(configs):
        raise location.unreadable(f"found configs {', '.join(configs)}")
    scores = _load(location, config, ("query-id", "corpus-id", "score"), own_split=True)
    qrels: dict[str, dict[str, int]] = {}
    for query, document, score in rows_of(scores, "query-id", "corpus-id", "score"):
        qrels.setdefault(str(query), {})[str(document)] = int(score)
    queries, corpus = (_load(location, config, ("id", "text")) for config in ("queries", "corpus"))
    known = {str(document) for (document,) in rows_of(corpus, "id")}
    if unknown := {document for relevances in qrels.values() for document in relevances} - known:
        logger.warning(
            "benchmark %s: %d documents of its qrels are not in the corpus, so that no model can find them (%s ...)",
            location.spec.name, len(unknown), min(unknown),
        )  # fmt: skip
    return RetrievalRows(queries, corpus, qrels)


def _open_pairs(location: Location) -> PairRows:
    pairs = _load(location, None, ("sentence1", "sentence2", "score"), own_split=True)
    rows = PairRows(pairs, location.spec.score_range)
    golds = rows.gold()
    if fault := without_ranks(golds):
        raise location.unreadable(fault)
    for number, gold in enumerate(golds, start=1):
        if not 0 <= gold <= 1:
            score, (low, high) = pairs[number - 1]["score"], rows.score_range
            raise location.unreadable(f"row {number}: score: expected {low} to {high}, found {score}")
    return rows


def _load(location: Location, config: str | None, columns: tuple[str, ...], *, own_split: bool = False) -> "Dataset":
    """Load one table of the scored split. Unless ``own_split``, the only split of a table may have another name.

    mteb is less strict: it scores any single split.
    """
    from datasets import get_dataset_split_names, load_dataset

    table_name = config or "the data set"
    splits = get_dataset_split_names(str(location.place), config, revision=location.revision)
    split = location.spec.split if location.spec.split in splits or own_split or len(splits) != 1 else splits[0]
    if split not in splits:
        raise location.unreadable(f"{table_name} has splits {', '.join(splits)}")
    table = load_dataset(str(location.place), config, split=split, revision=location.revision)
    if "_id" in table.column_names:
        table = table.rename_column("_id", "id")
    if missing := [column for column in columns if column not in table.column_names]:
        found = ", ".join(table.column_names)
        raise location.unreadable(f"{table_name} lacks {', '.join(missing)}; found columns {found}")
    for column in [*columns, *({"title"} & set(table.column_names))]:  # mteb fails on a title that is null
        if nulls := table.data.column(column).null_count:
            raise location.unreadable(f"{table_name} has no {column} in {nulls} of {len(table)} rows")
    return table


@dataclass(frozen=True)
class BenchmarkText:
    """One query, relevant document or pair of a benchmark.

    Attributes:
        kind: ``query``, ``document`` or ``pair``.
        id: of the query or document; of a pair its id, or its row in the data set.
        texts: the text (a document's title and text joined), or the two texts of a pair.
    """

    kind: Literal["query", "document", "pair"]
    id: str
    texts: tuple[str, ...]


def benchmark_texts(name: str, entry: Benchmark, sources: Path) -> Iterator[BenchmarkText]:
    """Yield every query, every document with a positive relevance, and every pair of benchmark ``name``.

    ``entry`` is its definition in params.yaml; ``sources`` is the output of ``ingest``, for benchmarks of a source.

    Raises:
        InputError: the data can't be read; names the benchmark.
    """
    if isinstance(entry, MtebBenchmark):
        yield from _of_mteb(open_rows(location_of(name, entry.path, entry.revision)))
        return
    try:
        if isinstance(entry, LocalRetrieval):
            yield from _of_retrieval(entry, sources)
        else:
            for row in pairs_of(entry, sources).itertuples(index=False):
                yield BenchmarkText("pair", str(row.pair_id), (row.text_a, row.text_b))
    except InputError as error:
        raise InputError(f"params.yaml: evaluate.benchmarks.{name}: {error}") from error


def pairs_of(entry: LocalSTS, sources: Path) -> pd.DataFrame:
    """Return the pairs that a similarity benchmark of a source scores: its split without the pairs of other sources."""
    pairs = read_pairs(sources, entry.source).of_split(entry.split)
    known = {key for other in entry.without_pairs_of for key in _keys(read_pairs(sources, other).pairs)}
    return pairs[[key not in known for key in _keys(pairs)]].reset_index(drop=True)


def without_ranks(gold: Collection[float]) -> str | None:
    """Return why pairs cannot be ranked, in words, or ``None``: a correlation with one value is not defined."""
    if len(set(gold)) > 1:
        return None
    return f"expected pairs of two different scores at least, to be ranked; found {len(gold)} pairs"


def _keys(pairs: pd.DataFrame) -> list[tuple[str, str]]:
    return [pair_key(a, b) for a, b in zip(pairs["text_a"], pairs["text_b"], strict=True)]


def _of_mteb(rows: RetrievalRows | PairRows) -> Iterator[BenchmarkText]:
    if isinstance(rows, PairRows):
        yield from (BenchmarkText("pair", str(index), pair) for index, pair in enumerate(rows.texts()))
        return
    yield from (BenchmarkText("query", query, (text,)) for query, text in rows.scored_queries)
    relevant = {document for scores in rows.qrels.values() for document, score in scores.items() if score > 0}
    yield from (BenchmarkText("document", id, (text,)) for id, text in rows.documents() if id in relevant)


def _of_retrieval(entry: LocalRetrieval, sources: Path) -> Iterator[BenchmarkText]:
    tables = read_retrieval(sources, entry.source)
    queries = tables.of_split(entry.split)
    for query, text in zip(queries["query_id"], queries["text"], strict=True):
        yield BenchmarkText("query", query, (text,))
    relevant = set(tables.qrels["doc_id"][tables.qrels["query_id"].isin(queries["query_id"])])
    documents = zip(tables.document_ids, tables.document_texts(), strict=True)
    yield from (BenchmarkText("document", id, (text,)) for id, text in documents if id in relevant)
