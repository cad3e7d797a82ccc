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
        rows: how many it holds at the registered revision; ``None`` where that is not known.
    """

    file: str
    columns: tuple[str, ...]
    form: Literal["tsv", "csv", "parquet"] = "tsv"
    header: tuple[str, ...] | None = None
    parts: bool = False
    rows: int | None = None


class TeacherScores(_Facts):
    """Columns with a teacher's score of each listed document, and the ``margin`` that makes a document a negative.

    A negative's score is at least ``margin`` below the lowest score of its query's relevant documents.
    """

    relevant: str
    negative: str
    margin: float


class Tables(_Facts):
    """A retrieval source in tables.

    Attributes:
        corpus: columns id, text.
        queries: columns id, text.
        relevant: columns query id, document id; ``grade`` of ``grades`` where it has the pair, else 1.
        negative: columns query id, document id; documents not relevant.
        grades: columns query id, document id, grade; grade 0 is a negative.
        lists: ids of documents stand in lists.
        scores: of the documents in those lists.
    """

    corpus: Table
    queries: Table
    relevant: Table
    negative: Table | None = None
    grades: Table | None = None
    lists: bool = False
    scores: TeacherScores | None = None


class Rows(_Facts):
    """Rows of a query with its documents: lists of texts, or of objects with a ``text``.

    ``parts`` and ``rows`` are those of :class:`Table`.
    """

    file: str = "*"
    query: str = "query"
    positive: str = "positive"
    negative: str = "negative"
    parts: bool = False
    rows: int | None = None


class Pairs(_Facts):
    """Scored pairs.

    Attributes:
        train: names or patterns of the training file, in the source's folder; the first that something matches.
        dev: the same for held-out pairs that are no benchmark's; read with ``splits: null``.
        labels: gold of each label where scores are classes, else ``None``.
        unlabelled: labels of rows without a label; these are filtered and counted.
        rows: of the training files at the registered revision; ``dev_rows`` of the held-out ones.
    """

    train: tuple[str, ...] = ()
    dev: tuple[str, ...] = ()
    columns: PairColumns = PairColumns(text_a="sentence1", text_b="sentence2", score="score")
    score_range: tuple[float, float] = (0.0, 1.0)
    labels: dict[str, float] | None = None
    unlabelled: tuple[str, ...] = ()
    rows: int | None = None
    dev_rows: int | None = None


class Origin(_Facts):
    """A repository at a commit, and what a source takes from it.

    Attributes:
        id: ``<owner>/<name>``: a data set on the hub, or a repository on GitHub.
        revision: commit.
        licence: as the origin states it, or that it states none.
        files: bytes, about, by the path in the repository; on the hub by a pattern too, the bytes of all its matches.
        sha256: of some of the files, by path.
    """

    id: str
    host: Literal["hub", "github"] = "hub"
    revision: str
    licence: str
    files: dict[str, int]
    sha256: dict[str, str] = {}

    @property
    def size(self) -> int:
        """Bytes of all files, about."""
        return sum(self.files.values())


class TrainingSource(_Facts):
    """What is known of a source.

    Attributes:
        origins: where its files are fetched from.
        instruction: the task in words, for ``encoder.prompts.instructions``.
        examples: queries with a relevant document (``ir``) or pairs (``sts``) of the training files. For the plan
            alone: ``ingest`` counts what it reads.
        examples_from: where that figure was read.
        examples_about: whether it is of a copy, or of rows that need not be examples, and so only near the number.
    """

    layout: Tables | Rows | Pairs
    origins: tuple[Origin, ...]
    instruction: str
    examples: int
    examples_from: str
    examples_about: bool = False

    @property
    def task(self) -> Task:
        """``sts`` for pairs, else ``ir``."""
        return "sts" if isinstance(self.layout, Pairs) else "ir"


_FACTS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
TRAINING_SOURCES = {name: TrainingSource(**facts) for name, facts in _FACTS.items()}
