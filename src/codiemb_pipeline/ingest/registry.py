"""The registered training sources and the formats of their files; ``registry.yaml`` holds the facts."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from codiemb_pipeline.params.ingest import PairColumns
from codiemb_pipeline.schema import Task


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Table(_Facts):
    """A table of a retrieval source.

    Attributes:
        file: name, or pattern, in the source's folder.
        columns: those read, in the order that the use of the table says.
        header: all columns of a file that does not name them itself.
        parts: whether several files match, read in the order of their names: parquet files one after the other, text
            as if it were one file, since Multi-CPR cuts a corpus anywhere, even inside a character.
    """

    file: str
    columns: tuple[str, ...]
    form: Literal["tsv", "csv", "parquet"] = "tsv"
    header: tuple[str, ...] | None = None
    parts: bool = False


class Tables(_Facts):
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


class Rows(_Facts):
    """Rows of a query with its documents: lists of texts, or of objects with a ``text``."""

    file: str = "*"
    query: str = "query"
    positive: str = "positive"
    negative: str = "negative"


class Pairs(_Facts):
    """Scored pairs.

    Attributes:
        train: names or patterns of the training file, in the source's folder; the first that something matches.
        dev: the same for held-out pairs that are no benchmark's; read with ``splits: null``.
        labels: gold of each label where scores are classes, else ``None``.
        unlabelled: labels of rows without a label; these are filtered and counted.
    """

    train: tuple[str, ...] = ()
    dev: tuple[str, ...] = ()
    columns: PairColumns = PairColumns(text_a="sentence1", text_b="sentence2", score="score")
    score_range: tuple[float, float] = (0.0, 1.0)
    labels: dict[str, float] | None = None
    unlabelled: tuple[str, ...] = ()


class TrainingSource(_Facts):
    """What is known of a source.

    Attributes:
        fetch: files of the origin to fetch, as patterns.
        instruction: the task in words, for ``encoder.prompts.instructions``.
        confirmed: whether all that ``path: null`` needs is known.
        note: what is not known, and where facts were read.
        hub_id: data set on the hub; ``github`` is the repository of one that is not there.
        revision: commit; ``None`` where not known.
        licence: as its origin states it; ``None`` where it states none that we have seen.
        examples: queries (``ir``) or pairs (``sts``) of the training files; ``None`` where no figure was found. For
            the plan alone: ``ingest`` counts what it reads.
        examples_from: where that figure was read.
        examples_about: whether it is of a copy, or of rows that need not be examples, and so only near the number.
    """

    layout: Tables | Rows | Pairs
    fetch: tuple[str, ...]
    instruction: str
    confirmed: bool
    note: str
    hub_id: str | None = None
    github: str | None = None
    revision: str | None = None
    licence: str | None = None
    examples: int | None = None
    examples_from: str = ""
    examples_about: bool = False

    @property
    def task(self) -> Task:
        """``sts`` for pairs, else ``ir``."""
        return "sts" if isinstance(self.layout, Pairs) else "ir"


_FACTS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
TRAINING_SOURCES = {name: TrainingSource(**facts) for name, facts in _FACTS.items()}
