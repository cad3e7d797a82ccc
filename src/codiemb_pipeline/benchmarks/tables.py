"""A benchmark's rows, opened through ``datasets`` from the hub or a folder: mapped from disk, never held as a whole.

The same calls as mteb's, so that both share one prepared copy below ``HF_HOME``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from codiemb_pipeline.benchmarks.places import Place
from codiemb_pipeline.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class RetrievalRows:
    """Queries, documents and judgements of a retrieval benchmark.

    Attributes:
        queries: columns ``id``, ``text``.
        corpus: columns ``id``, ``text``, and ``title`` if there is one.
        judgements: score by document by query; the only part that is held in memory.
    """

    queries: Dataset
    corpus: Dataset
    judgements: dict[str, dict[str, int]]

    @cached_property
    def judged_queries(self) -> list[tuple[str, str]]:
        """Id and text of the queries that have a judgement, in order: those mteb asks."""
        found = ((str(query), text) for query, text in rows_of(self.queries, "id", "text"))
        return [(query, text) for query, text in found if query in self.judgements]

    def documents(self) -> Iterator[tuple[str, str]]:
        """Yield id and text of every document, title and text joined as mteb joins them."""
        yield from documents_of(self.corpus)

    @property
    def size(self) -> dict[str, int]:
        """Numbers of queries asked and of documents."""
        return {"queries": len(self.judged_queries), "documents": len(self.corpus)}


@dataclass(frozen=True)
class PairRows:
    """Pairs of a similarity benchmark: columns ``sentence1``, ``sentence2``, ``score``."""

    pairs: Dataset
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


def open_rows(place: Place) -> RetrievalRows | PairRows:
    """Open the scored split of the benchmark at ``place``.

    Raises:
        InputError: the network, a file, a config, a split, a column or all rows are missing; names the benchmark.
    """
    import datasets

    datasets.disable_progress_bars()
    try:
        found = _open_retrieval(place) if place.spec.type == "retrieval" else _open_pairs(place)
    except InputError:
        raise
    except Exception as error:  # the hub, the network and every file format have errors of their own
        raise place.unreadable(error) from error
    if not all(found.size.values()):
        raise place.unreadable(f"found {found.size}")
    return found


def rows_of(table: Dataset, *columns: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table as tuples of ``columns``, read block by block."""
    for block in table.select_columns(list(columns)).with_format("arrow").iter(ROWS_AT_ONCE):
        yield from zip(*(block[column].to_pylist() for column in columns), strict=True)


def documents_of(corpus: Dataset) -> Iterator[tuple[str, str]]:
    """Yield id and text of documents, title and text joined as mteb joins them."""
    if "title" not in corpus.column_names:
        yield from ((str(document), text.strip()) for document, text in rows_of(corpus, "id", "text"))
        return
    for document, title, text in rows_of(corpus, "id", "title", "text"):
        yield str(document), f"{title} {text}".strip() if title else text.strip()


def _open_retrieval(place: Place) -> RetrievalRows:
    from datasets import get_dataset_config_names

    configs = get_dataset_config_names(place.path, place.revision)  # of a cached data set not all, without a network
    qrels = next((name for name in ("default", "qrels") if name in configs), None)
    if place.folder is not None and (qrels is None or not {"corpus", "queries"} <= set(configs)):
        raise place.unreadable(f"found configs {', '.join(configs)}")
    judged = _load(place, qrels or "default", ("query-id", "corpus-id", "score"), own_split=True)
    judgements: dict[str, dict[str, int]] = {}
    for query, document, score in rows_of(judged, "query-id", "corpus-id", "score"):
        judgements.setdefault(str(query), {})[str(document)] = int(score)
    queries, corpus = (_with_id(_load(place, config, ("text",)), place, config) for config in ("queries", "corpus"))
    rows = RetrievalRows(queries, corpus, judgements)
    known = {str(document) for (document,) in rows_of(corpus, "id")}
    unknown = {document for judged in judgements.values() for document in judged} - known
    if unknown:
        logger.warning(
            "benchmark %s: %d of its judged documents are not in the corpus, so that no model can find them (%s ...)",
            place.spec.name, len(unknown), min(unknown),
        )  # fmt: skip
    return rows


def _open_pairs(place: Place) -> PairRows:
    pairs = _load(place, None, ("sentence1", "sentence2", "score"), own_split=True)
    rows = PairRows(pairs, place.spec.score_range)
    for number, gold in enumerate(rows.gold(), start=1):
        if not 0 <= gold <= 1:
            score, (low, high) = pairs[number - 1]["score"], rows.score_range
            raise place.unreadable(f"row {number}: score: expected {low} to {high}, found {score}")
    return rows


def _load(place: Place, config: str | None, columns: tuple[str, ...], *, own_split: bool = False) -> Dataset:
    """Load one table of the scored split; a table that has but one split may name it otherwise, unless ``own_split``.

    ``own_split`` is stricter than mteb, which would score whatever single split it finds.
    """
    from datasets import get_dataset_split_names, load_dataset

    splits = get_dataset_split_names(place.path, config, revision=place.revision)
    split = place.spec.split if place.spec.split in splits or own_split or len(splits) != 1 else splits[0]
    if split not in splits:
        raise place.unreadable(f"{config or 'the data set'} has splits {', '.join(splits)}")
    table = load_dataset(place.path, config, split=split, revision=place.revision)
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        found = ", ".join(table.column_names)
        raise place.unreadable(f"{config or 'the data set'} lacks {', '.join(missing)}; found columns {found}")
    for column in [*columns, *({"title"} & set(table.column_names))]:  # mteb fails on a title that is null
        if nulls := table.data.column(column).null_count:
            raise place.unreadable(f"{config or 'the data set'} has no {column} in {nulls} of {len(table)} rows")
    _check_revision(place, table)
    return table


def _check_revision(place: Place, table: Dataset) -> None:
    """Refuse another revision than the pinned one: offline, ``datasets`` takes the latest it has in its cache."""
    files = [str(file["filename"]) for file in table.cache_files]
    if place.folder is None and files and not any(place.spec.revision in file for file in files):
        raise place.unreadable(f"the cache holds another revision ({files[0]})")


def _with_id(table: Dataset, place: Place, config: str) -> Dataset:
    if "_id" in table.column_names:
        return table.rename_column("_id", "id")
    if "id" not in table.column_names:
        raise place.unreadable(f"{config} has no _id; found columns {', '.join(table.column_names)}")
    return table
