"""The formats of sources on disk, as data: which files, which columns, which scores."""

from __future__ import annotations

from dataclasses import dataclass

from codiemb_pipeline.params.ingest import PairColumns

SENTENCES = PairColumns(text_a="sentence1", text_b="sentence2", score="score")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a retrieval source.

    Attributes:
        file: name, or pattern, in the source's folder.
        columns: those read, in the order that the use of the table says.
        form: ``tsv``, ``csv`` or ``parquet``.
        header: all columns of a file that does not name them itself.
        parts: whether several files match, read in the order of their names: parquet files one after the other, text
            as if it were one file, since Multi-CPR cuts a corpus anywhere, even inside a character.
    """

    file: str
    columns: tuple[str, ...]
    form: str = "tsv"
    header: tuple[str, ...] | None = None
    parts: bool = False


@dataclass(frozen=True, kw_only=True)
class Tables:
    """A retrieval source in tables.

    Attributes:
        corpus: columns id, text.
        queries: columns id, text.
        relevant: columns query id, document id; ``grade`` of ``grades`` where it has the pair, else 1.
        negative: columns query id, document id; documents not relevant.
        grades: columns query id, document id, grade; grade 0 is a negative.
        lists: ids of documents stand in lists.
    """

    corpus: Table
    queries: Table
    relevant: Table
    negative: Table | None = None
    grades: Table | None = None
    lists: bool = False


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A retrieval source with a query and the texts of its documents in each row.

    ``positive`` and ``negative`` name columns of lists, of texts or of objects with a ``text``.
    """

    file: str = "*"
    query: str = "query"
    positive: str = "positive"
    negative: str = "negative"


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Scored pairs.

    Attributes:
        train: names or patterns of the training file, in the source's folder; the first that something matches.
        dev: the same for held-out pairs that are no benchmark's; read with ``splits: null``.
        columns: of both texts and the score.
        score_range: lowest and highest score.
        labels: gold of each label where scores are classes, else ``None``.
        unlabelled: labels of rows without a label; these are filtered and counted.
    """

    train: tuple[str, ...] = ()
    dev: tuple[str, ...] = ()
    columns: PairColumns = SENTENCES
    score_range: tuple[float, float] = (0.0, 1.0)
    labels: dict[str, float] | None = None
    unlabelled: tuple[str, ...] = ()


# A ready-made copy, as in BeastyZ/cmteb_retrieval: each registered retrieval source may be read from one.
READY_MADE = Rows()
FLAG_EMBEDDING = Rows(positive="pos", negative="neg")
