"""Retrieval sources: BEIR folders, separate tables, rows that hold a query with its documents, Semanlink.

A reader writes the documents as they come and returns queries and judgements by number; then repeats are merged, splits
and limits applied, and the other tables written.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from codiemb_pipeline.artifacts.ingest import (
    COLUMNS,
    CORPUS_SCHEMA,
    SourceCounts,
    TableWriter,
    keep_rows,
    parquet_batches,
    write_table,
)
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.files import read_batches, read_document
from codiemb_pipeline.ingest.folders import SPLIT_NAMES, by_meaning
from codiemb_pipeline.ingest.hashing import (
    SPLIT_TYPE,
    TextIndex,
    hashes_of,
    place_of,
    rows_apart,
    splits_of,
    within_limit,
)
from codiemb_pipeline.ingest.registry import Rows, Table, Tables
from codiemb_pipeline.ingest.sources import SourceFiles, own_files
from codiemb_pipeline.ingest.validation import Batch, RejectLog, list_fault, shown, unknown_id
from codiemb_pipeline.schema import SPLITS
from codiemb_pipeline.texts import text_key

CORPUS, QUERIES = "corpus.jsonl", "queries.jsonl"
DOCUMENTS, TAGS = "docs.json", "tags.json"
PAIR = ["query", "document"]
QUERY_TYPES = dict.fromkeys(COLUMNS["queries"], pl.String)
_PLACE = pl.int_range(pl.len()).over("index").alias("place")
PAIR_TYPES = {"query": pl.Int32, "document": pl.Int32, "relevance": pl.Int32}


def read_retrieval_source(source: SourceFiles, seed: int, log: RejectLog, folder: Path) -> SourceCounts:
    """Read a retrieval source into ``folder``; ``seed`` enters the splits.

    Raises:
        InputError: a file is missing, or cannot be used as a whole.
    """
    readers = {Tables: read_tables, Rows: read_rows}
    read = readers.get(type(source.layout)) or {"beir": read_beir, "semanlink": read_semanlink}[source.params.reader]
    with TableWriter(folder / "corpus.parquet", CORPUS_SCHEMA) as table:
        corpus = Corpus(folder / "corpus.parquet", table)
        found = read(source, log, corpus)
    return write_relevance(source, found, corpus, seed, log, folder)


class Corpus:
    """Documents, written as they come and known by their number: the row in the table. 20 bytes each in memory."""

    def __init__(self, path: Path, table: TableWriter) -> None:
        self.path, self._table = path, table
        self.index = TextIndex()

    def add(self, batch: Batch, name: str, documents: pl.DataFrame) -> None:
        """Write documents (index, doc_id, title, text); reject those whose id, in column ``name``, was there before."""
        self._table.write(batch.distinct(documents, name, "doc_id", self.index))

    def numbers_of_texts(self, texts: pl.Series) -> pl.Series:
        """Return the numbers of documents by their texts; a new text is written as document ``d<number>``.

        Not to be mixed with :meth:`add`: documents of a source are told apart by ids or by texts.
        """
        numbers, is_first = self.index.add(texts)
        new = pl.DataFrame([numbers.alias("number"), texts.alias("text")]).filter(is_first)
        ids = pl.format("d{}", "number").alias("doc_id")
        self._table.write(new.select(ids, pl.lit("").alias("title"), "text"))
        return numbers

    def ids(self, numbers: np.ndarray) -> np.ndarray:
        """Return the ids of documents by their numbers, object (N,), from the finished file."""
        wanted = np.unique(numbers)
        found = np.empty(len(wanted), dtype=object)
        start = 0
        for batch in parquet_batches(self.path, ["doc_id"]):
            first, last = np.searchsorted(wanted, (start, start + len(batch)))
            found[first:last] = batch.column(0).take(wanted[first:last] - start).to_pylist()
            start += len(batch)
        return found[np.searchsorted(wanted, numbers)]


@dataclass
class Relevance:
    """What a reader returns; the documents are on disk by then.

    Attributes:
        queries: query_id, text, split (null where shares decide it).
        qrels: query (row of ``queries``), document (row of the corpus), relevance (0 and less: judged as not relevant).
        negatives: query, document: those that the source itself names as not relevant.
        own_corpus: whether the corpus stands by itself; otherwise it is the documents beside the queries.
    """

    queries: pl.DataFrame
    qrels: pl.DataFrame
    negatives: pl.DataFrame = field(default_factory=lambda: joined([], PAIR))
    own_corpus: bool = True


def joined(frames: list[pl.DataFrame], columns: list[str]) -> pl.DataFrame:
    """Return rows of query, document and perhaps relevance, in the narrow types that many of them need."""
    types = {name: PAIR_TYPES[name] for name in columns}
    return pl.concat([pl.DataFrame(schema=types), *(frame.select(columns).cast(types) for frame in frames)])


class _Queries:
    """Queries with ids of their own."""

    def __init__(self) -> None:
        self.index = TextIndex()
        self._frames = [pl.DataFrame(schema=QUERY_TYPES).drop("split")]

    def add(self, batch: Batch, id_name: str, text_name: str) -> None:
        sound = batch.sound(query_id=batch.ids(id_name), text=batch.texts(text_name))
        self._frames.append(batch.distinct(sound, id_name, "query_id", self.index).drop("index"))

    def table(self) -> pl.DataFrame:
        return pl.concat(self._frames)


def read_beir(source: SourceFiles, log: RejectLog, corpus: Corpus) -> Relevance:
    """Read corpus.jsonl, queries.jsonl and qrels/<split>.tsv, or any of them in another format, compressed, in shards.

    A query takes the split of the last qrels file that names it, else train. A title may stand in for an empty text.
    """
    path, place = source.path, source.shown
    tables = by_meaning(path, place, {PurePath(name).stem: name for name in (CORPUS, QUERIES)})
    for file in tables.get(CORPUS, [path / CORPUS]):
        for batch in read_batches([file], f"{place}/{file.name}", log, ["_id", "text"], optional=("title",)):
            ids, titles = batch.ids("_id"), batch.texts("title", blank=True)
            sound = batch.sound(doc_id=ids, title=titles, text=batch.texts("text", blank=titles != ""))
            corpus.add(batch, "_id", sound)
    queries = _Queries()
    for file in tables.get(QUERIES, [path / QUERIES]):
        for batch in read_batches([file], f"{place}/{file.name}", log, ["_id", "text"]):
            queries.add(batch, "_id", "text")
    files = by_meaning(path / "qrels", f"{place}/qrels", SPLIT_NAMES)
    if not files:
        raise InputError(f"{place}/qrels: expected train.tsv, dev.tsv or test.tsv, found none")
    qrels, splits = [], [pl.DataFrame(schema={"query": pl.Int32, "split": pl.String})]
    for split, file in [(name, file) for name in SPLITS for file in files.get(name, ())]:
        for batch in read_batches([file], f"{place}/qrels/{file.name}", log, ["query-id", "corpus-id", "score"]):
            query = batch.known("query-id", queries.index, QUERIES)
            document = batch.known("corpus-id", corpus.index, CORPUS)
            sound = batch.sound(query=query, document=document, relevance=batch.whole_numbers("score"))
            qrels.append(sound.select(*PAIR, "relevance"))
            relevant = sound.filter(pl.col("relevance") > 0)
            splits.append(relevant.select("query", pl.lit(split).alias("split")).unique())
    split_of = pl.concat(splits).unique("query", keep="last", maintain_order=True)
    table = queries.table().with_row_index("query").with_columns(pl.col("query").cast(pl.Int32))
    table = table.join(split_of, on="query", how="left", maintain_order="left").drop("query")
    return Relevance(table.with_columns(pl.col("split").fill_null("train")), joined(qrels, [*PAIR, "relevance"]))


def read_rows(source: SourceFiles, log: RejectLog, corpus: Corpus) -> Relevance:
    """Read rows of a query and the texts of its documents. A text is one document.

    All queries are train, unless the source is a folder with a file for each split.
    """
    layout: Rows = source.layout
    if source.path.is_file():
        files = [([source.path], source.shown, "train", "q")]
    elif source.declared is not None:
        files = [(*source.table(layout), "train", "q")]
    else:
        files = [(paths, name, split, f"{prefix}q") for paths, name, split, prefix in own_files(source)]
    most = source.params.named_negatives
    queries, qrels, negatives, count = [pl.DataFrame(schema=QUERY_TYPES)], [], [], 0
    for batch, split, prefix in _rows(source, files, log):
        query, relevant = batch.texts(layout.query), batch.text_lists(layout.positive)
        others = batch.text_lists(layout.negative, optional=True)
        ids = pl.Series([f"{prefix}{row}" for row in batch.rows], dtype=pl.String)
        sound = batch.sound(query_id=ids, text=query)
        queries.append(sound.select("query_id", "text", pl.lit(split).alias("split")))
        place = pl.int_range(count, count + pl.len(), dtype=pl.Int32).alias("query")
        rows = sound.select("index", place)
        count += len(sound)
        # Numbers in the order of the file: the relevant documents of a row, then its negatives.
        relevant, others = (texts.join(rows, on="index", maintain_order="left") for texts in (relevant, others))
        if most is not None:
            kept = others.filter(pl.int_range(pl.len()).over("index") < most)
            others = log.narrow("negatives over named_negatives", others, kept)
        texts = pl.concat([relevant.with_columns(relevant=True), others.with_columns(relevant=False)])
        texts = texts.sort("query", maintain_order=True)
        texts = texts.with_columns(corpus.numbers_of_texts(texts["text"]).alias("document"))
        qrels.append(texts.filter("relevant").select(*PAIR, pl.lit(1).alias("relevance")))
        negatives.append(texts.filter(~pl.col("relevant")).select(PAIR))
    return Relevance(pl.concat(queries), joined(qrels, [*PAIR, "relevance"]), joined(negatives, PAIR), own_corpus=False)


def _rows(source: SourceFiles, files: Iterable[tuple], log: RejectLog) -> Iterator[tuple[Batch, str, str]]:
    """Yield the rows of files, with the split and the beginning of the ids of each file."""
    layout: Rows = source.layout
    optional = () if source.as_registered else (layout.negative,)
    wanted = [layout.query, layout.positive, *([] if optional else [layout.negative])]
    for paths, name, split, prefix in files:
        for batch in read_batches(paths, name, log, wanted, optional=optional, least=source.least(layout.rows)):
            yield batch, split, prefix


def read_tables(source: SourceFiles, log: RejectLog, corpus: Corpus) -> Relevance:
    """Read documents, queries and judgements from the tables that the registry declares. All queries are train."""
    layout: Tables = source.layout
    doc_id, text = layout.corpus.columns
    for batch in _batches(source, layout.corpus, log):
        sound = batch.sound(doc_id=batch.ids(doc_id), text=batch.texts(text))
        corpus.add(batch, doc_id, sound.with_columns(title=pl.lit("")))
    queries = _Queries()
    for batch in _batches(source, layout.queries, log):
        queries.add(batch, *layout.queries.columns)
    qrels, negatives = [], []
    query_id, *doc_ids = (*layout.relevant.columns, *(layout.negative.columns[1:] if layout.negative else ()))
    scores = [layout.scores.relevant, layout.scores.negative] if layout.scores else []
    for batch in _batches(source, layout.relevant, log, [*doc_ids[1:], *scores]):
        query = batch.known(query_id, queries.index, layout.queries.file)
        documents = [_documents(batch, name, corpus, layout) for name in doc_ids]
        below = _clearly_below(batch, layout) if scores else None
        sound = batch.sound(query=query)
        relevant, *others = (found.join(sound, on="index", maintain_order="left") for found in documents)
        qrels.append(relevant)
        if below is not None:
            clear = others[0].join(below, on=["index", "place"], how="semi", maintain_order="left")
            others = [log.narrow("negatives whose score is near a relevant document's", others[0], clear)]
        negatives += others
    relevant = joined(qrels, PAIR).with_columns(pl.lit(1, dtype=PAIR_TYPES["relevance"]).alias("relevance"))
    if layout.negative is not None:  # a relevant document stands beside each of many negatives
        relevant = relevant.unique(PAIR, keep="first", maintain_order=True)
    if layout.grades is not None:
        relevant, ungraded = _graded(source, relevant, queries, corpus, log)
        negatives.append(ungraded)
    named = _first_negatives(joined(negatives, PAIR), source.params.named_negatives, log)
    return Relevance(queries.table().with_columns(split=pl.lit("train")), relevant, named)


def _batches(source: SourceFiles, table: Table, log: RejectLog, extra: Iterable[str] = ()) -> Iterator[Batch]:
    files, name = source.table(table)
    columns, least = [*table.columns, *extra], source.least(table.rows)
    return read_batches(files, name, log, columns, form=f".{table.form}", header=table.header, least=least)


def _documents(batch: Batch, name: str, corpus: Corpus, layout: Tables) -> pl.DataFrame:
    """Return the documents that a column names: index (of the row in the batch), document (row of the corpus).

    Those of lists have their ``place`` in the list, and the ``text`` of their id.
    """
    if not layout.lists:
        numbers = batch.known(name, corpus.index, layout.corpus.file)
        return pl.DataFrame([numbers.alias("document")]).with_row_index("index")
    lists = batch.columns[name]
    if isinstance(lists, pl.Series) and isinstance(lists.dtype, pl.List):
        batch.columns[name] = lists.cast(pl.List(pl.String))
    found = batch.text_lists(name, optional=True)
    found = found.with_columns(corpus.index.find(found["text"]).alias("document"), _PLACE)
    unknown = found.filter(pl.col("document").is_null()).select("index", "text", "place")
    for index, text, place in unknown.iter_rows():
        batch.reject(index, f"{name}[{place}]", unknown_id(text, layout.corpus.file))
    return found


def _clearly_below(batch: Batch, layout: Tables) -> pl.DataFrame:
    """Return the negatives in the lists of a batch, by ``index`` and ``place``, that their score leaves negatives."""
    scores = layout.scores
    relevant = batch.number_lists(scores.relevant, layout.relevant.columns[1])
    lowest = pl.DataFrame([relevant.list.min().alias("lowest")]).with_row_index("index")
    found = pl.DataFrame([batch.number_lists(scores.negative, layout.negative.columns[1]).alias("score")])
    found = found.with_row_index("index").explode("score").drop_nulls("score").with_columns(_PLACE)
    return found.join(lowest, on="index").filter(pl.col("score") <= pl.col("lowest") - scores.margin)


def _graded(
    source: SourceFiles, relevant: pl.DataFrame, queries: _Queries, corpus: Corpus, log: RejectLog
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return relevant pairs with their grades, and the pairs of grade 0.

    Pairs that have a grade but are not called relevant are neither; they are counted.
    """
    layout: Tables = source.layout
    query_id, doc_id, grade = layout.grades.columns
    frames = []
    for batch in _batches(source, layout.grades, log):
        query = batch.known(query_id, queries.index, layout.queries.file)
        document = batch.known(doc_id, corpus.index, layout.corpus.file)
        frames.append(batch.sound(query=query, document=document, relevance=batch.whole_numbers(grade)))
    table = _judged_once(joined(frames, [*PAIR, "relevance"]), log)
    graded = table.filter(pl.col("relevance") > 0)
    log.filter("pairs with a grade, but not called relevant", len(graded.join(relevant, on=PAIR, how="anti")))
    relevant = relevant.select(PAIR).join(graded, on=PAIR, how="left", maintain_order="left")
    return relevant.with_columns(pl.col("relevance").fill_null(1)), table.filter(pl.col("relevance") <= 0)


def _judged_once(table: pl.DataFrame, log: RejectLog) -> pl.DataFrame:
    """Return each pair of query and document once, with the highest of its relevances; the others are counted."""
    once = table.unique(PAIR, keep="first", maintain_order=True)
    if len(once) == len(table):
        return table
    judged = table.group_by(PAIR).agg(
        pl.col("relevance").max(), differ=pl.col("relevance").n_unique() > 1, repeats=pl.len() - 1
    )
    contradicting = judged.filter("differ")["repeats"].sum()
    log.filter("judgements repeated with another relevance, the highest kept", contradicting)
    log.filter("judgements that repeat", len(table) - len(once) - contradicting)
    highest = judged.select(*PAIR, "relevance")
    return once.select(PAIR).join(highest, on=PAIR, how="left", maintain_order="left")


def _first_negatives(negatives: pl.DataFrame, most: int | None, log: RejectLog) -> pl.DataFrame:
    """Keep the first ``most`` distinct negatives of each query."""
    if most is None:
        return negatives
    kept = negatives.unique(PAIR, keep="first", maintain_order=True)
    kept = kept.filter(pl.int_range(pl.len()).over("query") < most)
    log.filter("negatives over named_negatives", len(negatives.join(kept, on=PAIR, how="anti")))
    return kept


def read_semanlink(source: SourceFiles, log: RejectLog, corpus: Corpus) -> Relevance:
    """Read François-Paul Servant's bookmarks, as shipped in cherche: a tag asks for the documents he gave it to.

    Documents of one title are one document; tags of one label are one query, relevant to all that either was given to.
    A tag with several labels (10 of 4,603) is asked by its first; the others are translations or spellings of it.
    Documents are titles alone. A row is an entry of docs.json, from 1.
    """
    file = f"{source.shown}/{DOCUMENTS}"
    label_of = {
        uri: tag["prefLabel"][0].strip()
        for uri, tag in read_document(source.path / TAGS, f"{source.shown}/{TAGS}", dict, log).items()
        if isinstance(tag, dict) and tag.get("prefLabel") and not list_fault(tag["prefLabel"], "prefLabel")
    }
    batch = _titled(read_document(source.path / DOCUMENTS, file, list, log), file, log)
    title, tags = batch.texts("title"), batch.text_lists("tag", optional=True)
    for index, uri in tags.filter(~pl.col("text").is_in(list(label_of))).iter_rows():
        batch.reject(index, "tag", f"expected a tag with a label in {TAGS}, found {shown(uri)}")
    first: dict[str, int] = {}  # by key of the title: row of the corpus
    queries: dict[str, tuple[str, str]] = {}  # by key of the label: id, label
    judged: set[tuple[str, int]] = set()  # query id, row of the corpus
    sound = batch.sound(title=title)
    keys = [text_key(text) for text in sound["title"]]
    row_of = {index: first.setdefault(key, len(first)) for index, key in zip(sound["index"], keys, strict=True)}
    for index, uri in tags.filter(pl.col("index").is_in(sound["index"])).iter_rows():
        query = queries.setdefault(text_key(label_of[uri]), (uri.rsplit("/", 1)[-1], label_of[uri]))
        judged.add((query[0], row_of[index]))
    ids = pl.Series([f"d{row}" for row in batch.rows], dtype=pl.String).gather(sound["index"])
    documents = sound.select("index", doc_id=ids, title="title", text=pl.lit(""))
    distinct = documents.filter(pl.Series(keys).is_first_distinct())
    corpus.add(batch, "title", log.narrow("documents whose title repeats", documents, distinct))
    batch.close(log)
    ordered = sorted(queries.values())
    numbers = {query_id: number for number, (query_id, _) in enumerate(ordered)}
    table = pl.DataFrame([(*query, None) for query in ordered], schema=QUERY_TYPES, orient="row")
    qrels = [(numbers[query], row, 1) for query, row in sorted(judged)]
    return Relevance(table, pl.DataFrame(qrels, schema=PAIR_TYPES, orient="row"))


def _titled(documents: list[Any], file: str, log: RejectLog) -> Batch:
    """Return title and tags of the entries that have a title; the others are counted."""
    rows: dict[int, dict[str, Any]] = {}
    faults = []
    for number, document in enumerate(documents, start=1):
        if not isinstance(document, dict):
            faults.append((number, "(entry)", f"expected an object, found {shown(document)}"))
        elif not (title := document.get("title")) or (isinstance(title, str) and not title.strip()):
            log.filter("documents without a title")
            log.rows += 1
        else:
            rows[number] = document
    columns = {name: [document.get(name) for document in rows.values()] for name in ("title", "tag")}
    return Batch(file, list(rows), columns, faults)


def write_relevance(
    source: SourceFiles, found: Relevance, corpus: Corpus, seed: int, log: RejectLog, folder: Path
) -> SourceCounts:
    """Write queries, qrels and negatives beside the finished corpus, and return the counts."""
    params = source.params
    keys = [text_key(text) for text in found.queries["text"]]
    hashes = hashes_of(keys, seed, log.source)
    split = found.queries["split"].cast(SPLIT_TYPE) if params.splits is None else splits_of(hashes, params.splits)
    number = pl.int_range(pl.len(), dtype=pl.Int32)
    everything = found.queries.with_columns(split=split, key=pl.Series(keys, dtype=pl.String), query=number)
    # A query that repeats gives its documents to the first of its kind: they would be taken for negatives of it.
    stands_for = everything.select(pl.col("query").first().over("key", "split")).to_series()
    queries = log.narrow("queries that repeat", everything, everything.filter(stands_for == everything["query"]))
    qrels, negatives = (
        table.with_columns(query=stands_for.gather(table["query"])) for table in (found.qrels, found.negatives)
    )
    qrels = _judged_once(qrels, log)
    qrels = log.narrow("judgements of no relevance", qrels, qrels.filter(pl.col("relevance") > 0))
    sized = queries.join(qrels.group_by("query").len("size"), on="query", maintain_order="left")
    queries = log.narrow("queries without a relevant document", queries, sized)
    if params.documents_per_query is not None:
        fewest, most = params.documents_per_query
        why = f"queries with relevant documents outside {fewest} to {most}"
        queries = log.narrow(why, queries, queries.filter(pl.col("size").is_between(fewest, most)))
    keep, leaked, _ = rows_apart(hashes[queries["query"]], queries["split"])
    log.filter("queries in a later split too", leaked)
    queries = queries.filter(keep)
    if params.limit is not None:
        places = place_of(hashes_of(queries["key"], seed, log.source, "limit"))
        queries = log.narrow("queries over the limit", queries, queries.filter(within_limit(places, params.limit)))
    negatives = negatives.unique(PAIR, keep="first", maintain_order=True)
    others = negatives.join(qrels, on=PAIR, how="anti", maintain_order="left")
    negatives = log.narrow("negatives that are relevant", negatives, others)
    qrels, negatives = (
        table.join(queries, on="query", how="semi", maintain_order="left") for table in (qrels, negatives)
    )
    _write(folder, queries, {"qrels": qrels, "negatives": negatives}, found.queries["query_id"], corpus)
    documents = len(corpus.index)
    if params.limit is not None and not found.own_corpus:
        keep = np.zeros(documents, dtype=bool)
        keep[pl.concat([qrels["document"], negatives["document"]]).to_numpy()] = True
        log.filter("documents of no query within the limit", (~keep).sum())
        keep_rows(corpus.path, keep)
        documents = int(keep.sum())
    splits = dict.fromkeys(SPLITS, 0) | dict(queries["split"].cast(pl.String).value_counts().iter_rows())
    return SourceCounts(task="ir", splits=splits, documents=documents, judgements=len(qrels))


def _write(
    folder: Path, queries: pl.DataFrame, judged: dict[str, pl.DataFrame], query_ids: pl.Series, corpus: Corpus
) -> None:
    """Write queries, qrels and negatives beside the corpus, numbers replaced by ids."""
    texts = {name: pd.Series(queries[name].cast(pl.String).to_list(), dtype=str) for name in COLUMNS["queries"]}
    write_table(pd.DataFrame(texts), folder, "queries")
    for name, table in judged.items():
        columns = {
            "query_id": pd.Series(query_ids.gather(table["query"]).to_list(), dtype=str),
            "doc_id": pd.Series(corpus.ids(table["document"].to_numpy()), dtype=str),
        }
        if name == "qrels":
            columns["relevance"] = table["relevance"].cast(pl.Int64).to_numpy()
        write_table(pd.DataFrame(columns), folder, name)
