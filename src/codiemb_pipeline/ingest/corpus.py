"""Documents on their way to disk: written as they come, remembered by a number and a digest of their id or text.

A document's number is its row in the table. Memory is about 40 bytes a document, whatever its length. Knows nothing of
files read or of judgements.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import pyarrow.parquet as pq

from codiemb_pipeline.artifacts.ingest import CORPUS_SCHEMA, TableWriter
from codiemb_pipeline.ingest.digests import NumberByText

READ_ROWS = 100_000


class CorpusWriter:
    """Streams the documents of a source into ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._table = TableWriter(path, CORPUS_SCHEMA)
        self._numbers = NumberByText()

    def __len__(self) -> int:
        return self._table.rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._table.__exit__(*error)

    def add(self, doc_id: str, title: str, text: str) -> bool:
        """Write a document, unless one of its id is there; return whether it was written."""
        row = self._table.rows
        if self._numbers.setdefault(doc_id, row) != row:
            return False
        self._table.add((doc_id, title, text))
        return True

    def number(self, doc_id: str) -> int | None:
        """Return the number of the document with this id, ``None`` where there is none."""
        return self._numbers.get(doc_id)

    def number_of_text(self, text: str) -> int:
        """Return the number of the document with this text, written as ``d<number>`` when it is new.

        Not to be mixed with :meth:`add`: a source names its documents, or their texts do.
        """
        number = self._numbers.setdefault(text, self._table.rows)
        if number == self._table.rows:
            self._table.add((f"d{number}", "", text))
        return number

    def ids(self, numbers: np.ndarray) -> np.ndarray:
        """Return the ids of documents by their numbers, object (N,), from the finished file."""
        wanted = np.unique(numbers)
        found = np.empty(len(wanted), dtype=object)
        start = 0
        with pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches(READ_ROWS, columns=["doc_id"]):
                first, last = np.searchsorted(wanted, (start, start + len(batch)))
                found[first:last] = batch.column(0).take(wanted[first:last] - start).to_pylist()
                start += len(batch)
        return found[np.searchsorted(wanted, numbers)]
