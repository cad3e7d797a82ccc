"""Tables of sources from rows, as ``ingest`` writes them."""

import pandas as pd

from codiemb_pipeline.artifacts.ingest import COLUMNS, PairTables, RetrievalTables


def table(name: str, rows) -> pd.DataFrame:
    """Return rows in the order of ``COLUMNS[name]``."""
    return pd.DataFrame(list(rows), columns=COLUMNS[name])


def retrieval_tables(queries, corpus, qrels, negatives=()) -> RetrievalTables:
    return RetrievalTables(
        table("queries", queries), table("corpus", corpus), table("qrels", qrels), table("negatives", negatives)
    )


def pair_tables(pairs) -> PairTables:
    return PairTables(table("pairs", pairs))
