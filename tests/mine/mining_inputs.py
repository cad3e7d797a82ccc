"""Parameters and tables for the tests of mining."""

import frozen_params
import pandas as pd

from codiemb_pipeline.artifacts.ingest import RetrievalTables
from codiemb_pipeline.params import MineParams


def make_params(**changes) -> MineParams:
    """Return parameters with a window from rank 1 and no margins, unless changed."""
    values = {"rank_from": 1, "absolute_margin": None, "relative_margin": None, "processes": 1, "audit_samples": 2}
    return MineParams.parse(frozen_params.params()["mine"] | values | changes, "mine")


def make_tables(queries, corpus, qrels, negatives=()) -> RetrievalTables:
    """Return tables with these rows, in the order of ``artifacts.ingest.COLUMNS``."""
    return RetrievalTables(
        pd.DataFrame(queries, columns=["query_id", "text", "split"]),
        pd.DataFrame(corpus, columns=["doc_id", "title", "text"]),
        pd.DataFrame(qrels, columns=["query_id", "doc_id", "relevance"]),
        pd.DataFrame(list(negatives), columns=["query_id", "doc_id"], dtype=str),
    )
