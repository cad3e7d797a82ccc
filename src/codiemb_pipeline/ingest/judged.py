"""What a reader of a retrieval source hands on: queries, and judgements as numbers. The documents are on disk by then.

Knows nothing of files or splits.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np
import pandas as pd


@dataclass
class Links:
    """Queries and documents by their numbers (place in the list of queries, row of the corpus), and a relevance."""

    queries: array[int] = field(default_factory=lambda: array("i"))
    documents: array[int] = field(default_factory=lambda: array("i"))
    relevances: array[int] = field(default_factory=lambda: array("i"))

    def add(self, query: int, document: int, relevance: int = 1) -> None:
        """Append one."""
        self.queries.append(query)
        self.documents.append(document)
        self.relevances.append(relevance)

    def table(self, alias: np.ndarray) -> pd.DataFrame:
        """Return columns ``query``, ``document``, ``relevance``, int64, each query by the one that stands for it."""
        columns = [np.array(part, dtype=np.int64) for part in (self.queries, self.documents, self.relevances)]
        return pd.DataFrame({"query": alias[columns[0]], "document": columns[1], "relevance": columns[2]})


@dataclass
class Judged:
    """The queries of a source and what is said of them.

    Attributes:
        queries: id, text, split (``None`` where shares decide it).
        qrels: relevant documents.
        negatives: documents the source itself names as not relevant.
        own_corpus: whether the corpus stands by itself; otherwise it is the documents that the rows of queries held.
    """

    queries: list[tuple[str, str, str | None]] = field(default_factory=list)
    qrels: Links = field(default_factory=Links)
    negatives: Links = field(default_factory=Links)
    own_corpus: bool = True
