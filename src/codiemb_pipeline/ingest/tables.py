"""Reader of retrieval sources in tables of their own: documents, queries, judgements; which, the registry declares."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from codiemb_pipeline.ingest.corpus import CorpusWriter
from codiemb_pipeline.ingest.files import read_rows
from codiemb_pipeline.ingest.judged import Judged, Links
from codiemb_pipeline.ingest.layouts import Table, Tables
from codiemb_pipeline.ingest.origin import Source, files_of
from codiemb_pipeline.ingest.rows import BadRowError, Ledger, id_of, known_number, shown, text_of, whole_number_of


def read_tables(source: Source, path: Path, ledger: Ledger, corpus: CorpusWriter) -> Judged:
    """Read the tables in folder ``path``. All queries are train; shares say otherwise.

    Raises:
        InputError: a file is missing or can't be used as a whole.
    """
    return _Reader(source, path, ledger, corpus).read()


class _Reader:
    """One source on its way: the ids of its queries, and what was said of them."""

    def __init__(self, source: Source, path: Path, ledger: Ledger, corpus: CorpusWriter) -> None:
        self._source, self._path, self._ledger, self._corpus = source, path, ledger, corpus
        self._layout: Tables = source.declared.layout
        self._judged = Judged()
        self._queries: dict[str, int] = {}
        self._relevant: set[tuple[int, int]] = set()
        self._negatives_of: Counter[int] = Counter()
        self._kept: set[tuple[int, int]] = set()

    def read(self) -> Judged:
        """Return queries and judgements; the documents are written by then."""
        layout = self._layout
        self._each(layout.corpus, self._document)
        self._each(layout.queries, self._query)
        extra = layout.negative.columns[1:] if layout.negative is not None else ()
        self._each(layout.relevant, self._judgement, extra)
        if layout.grades is not None:
            graded = Links()
            self._each(layout.grades, lambda row, columns: self._grade(row, columns, graded))
            self._set_grades(graded)
        return self._judged

    def _each(self, table: Table, take: Any, extra: tuple[str, ...] = ()) -> None:
        """Hand each sound row of ``table`` to ``take``; a BadRowError sets it aside."""
        files, name = files_of(self._source, self._path, table)
        columns = [*table.columns, *extra]
        header = None if table.header is None else list(table.header)
        rows = read_rows(files, name, self._ledger, columns, form=f".{table.form}", header=header)
        for number, row in rows:
            try:
                take(row, columns)
            except BadRowError as bad:
                self._ledger.reject(name, number, bad.field, bad.reason)

    def _document(self, row: dict[str, Any], columns: list[str]) -> None:
        doc_id = id_of(row, columns[0])
        if not self._corpus.add(doc_id, "", text_of(row, columns[1])):
            raise BadRowError(columns[0], f"expected ids that differ, found {shown(doc_id)} again")

    def _query(self, row: dict[str, Any], columns: list[str]) -> None:
        query_id, text = id_of(row, columns[0]), text_of(row, columns[1])
        if query_id in self._queries:
            raise BadRowError(columns[0], f"expected ids that differ, found {shown(query_id)} again")
        self._queries[query_id] = len(self._judged.queries)
        self._judged.queries.append((query_id, text, "train"))

    def _judgement(self, row: dict[str, Any], columns: list[str]) -> None:
        """Take the relevant documents of a row, and the negative ones beside them; all of them or none."""
        query = self._query_number(row, columns[0])
        relevant, *others = (self._documents(row, column) for column in columns[1:])
        for document in relevant:
            if self._layout.negative is None or (query, document) not in self._relevant:
                self._judged.qrels.add(query, document)
            if self._layout.negative is not None:  # a relevant document stands beside each of many negatives
                self._relevant.add((query, document))
        for document in others[0] if others else ():
            self._negative(query, document)

    def _grade(self, row: dict[str, Any], columns: list[str], graded: Links) -> None:
        query, (document,) = self._query_number(row, columns[0]), self._documents(row, columns[1])
        grade = whole_number_of(row, columns[2])
        if grade > 0:
            graded.add(query, document, grade)
        else:
            self._negative(query, document)

    def _set_grades(self, graded: Links) -> None:
        """Give relevant pairs their grade; graded pairs that are not called relevant are counted, and are neither."""
        every = np.arange(len(self._judged.queries))
        tables = [links.table(every) for links in (graded, self._judged.qrels)]
        keys = [table["query"] * 2**32 + table["document"] for table in tables]
        grades = pd.Series(tables[0]["relevance"].to_numpy(), index=keys[0])
        grades = grades[~grades.index.duplicated()]
        relevances = keys[1].map(grades).fillna(1).astype(np.int32)
        self._judged.qrels.relevances[:] = type(self._judged.qrels.relevances)("i", relevances.tolist())
        self._ledger.leave_out("pairs with a grade, but not called relevant", int((~keys[0].isin(keys[1])).sum()))

    def _negative(self, query: int, document: int) -> None:
        most = self._source.named_negatives
        if most is not None:
            if (query, document) in self._kept:  # beside another relevant document
                return
            if self._negatives_of[query] >= most:
                self._ledger.leave_out("negatives over named_negatives")
                return
            self._negatives_of[query] += 1
            self._kept.add((query, document))
        self._judged.negatives.add(query, document)

    def _query_number(self, row: dict[str, Any], column: str) -> int:
        query_id = id_of(row, column)
        return known_number(self._queries.get(query_id), column, query_id, self._layout.queries.file)

    def _documents(self, row: dict[str, Any], column: str) -> list[int]:
        items = {column: row[column]}
        if self._layout.lists:
            if not isinstance(row[column], list):
                raise BadRowError(column, f"expected a list of ids, found {shown(row[column])}")
            items = {f"{column}[{place}]": item for place, item in enumerate(row[column])}
        ids = [(name, id_of(items, name)) for name in items]
        return [known_number(self._corpus.number(doc), name, doc, self._layout.corpus.file) for name, doc in ids]
