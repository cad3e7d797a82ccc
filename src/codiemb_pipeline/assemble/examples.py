"""Rows of a source become training examples: queries, qrels and mined negatives, or scored pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from codiemb_pipeline.artifacts.ingest import PairTables, RetrievalTables
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_jsonl
from codiemb_pipeline.schema import TrainingExample
from codiemb_pipeline.texts import pair_key, text_key

IR_REASONS = (
    "queries_merged",
    "queries_without_positives",
    "queries_over_cap",
    "positives_repeated",
    "positives_over_limit",
    "negatives_leaked",
    "negatives_repeated",
    "negatives_over_limit",
)
STS_REASONS = ("pairs_repeated", "pairs_repeated_with_other_gold", "pairs_over_cap")


@dataclass
class Question:
    """A training query, with all that queries of the same text bring along.

    Attributes:
        query_id: of the first of them.
        text: of the first of them.
        positives: rows of the corpus, in the order of the qrels, with their relevance.
        negatives: rows of the corpus, in the order of mining.
    """

    query_id: str
    text: str
    positives: list[tuple[int, int]] = field(default_factory=list)
    negatives: list[int] = field(default_factory=list)


class RetrievalExamples:
    """The questions of a retrieval source, and how one becomes an example."""

    def __init__(self, name: str, tables: RetrievalTables, negatives_file: Path) -> None:
        """Read the questions.

        Args:
            name: of the source.
            tables: what ``ingest`` wrote.
            negatives_file: what ``mine`` wrote for it.

        Raises:
            InputError: the file is missing, lacks a query, or names an unknown document.
        """
        self._name, self._tables = name, tables
        self._row_of = {document_id: row for row, document_id in enumerate(tables.corpus["doc_id"])}
        self._texts = list(tables.document_texts())
        self.dropped: Counter[str] = Counter(dict.fromkeys(IR_REASONS, 0))
        self._questions = self._read_questions(negatives_file)

    @property
    def ids(self) -> list[str]:
        """Ids of the questions, in the order of the table."""
        return [question.query_id for question in self._questions]

    def build(self, number: int, *, max_positives: int, max_negatives: int) -> TrainingExample:
        """Return question ``number`` as an example, and count what is left out of it."""
        question = self._questions[number]
        relevance_first = sorted(question.positives, key=lambda positive: -positive[1])
        # Equal texts are shown once, and all positives are known before the first negative is let in.
        positive_keys: set[str] = set()
        positives = list(self._new_texts([row for row, _ in relevance_first], positive_keys, "positives_repeated"))
        known = positive_keys | {text_key(question.text)}
        apart = [row for row in question.negatives if text_key(self._texts[row]) not in known]
        self.dropped["negatives_leaked"] += len(question.negatives) - len(apart)
        negatives = list(self._new_texts(apart, set(), "negatives_repeated"))
        self.dropped["positives_over_limit"] += max(0, len(positives) - max_positives)
        self.dropped["negatives_over_limit"] += max(0, len(negatives) - max_negatives)
        return TrainingExample(
            task="ir",
            query=question.text,
            positives=tuple(positives[:max_positives]),
            negatives=tuple(negatives[:max_negatives]),
            scores=(),
            id=question.query_id,
            source=self._name,
        )

    def _new_texts(self, rows: list[int], seen: set[str], reason: str) -> Iterator[str]:
        """Yield the texts of ``rows`` whose keys are not in ``seen``, where they are added."""
        for row in rows:
            key = text_key(self._texts[row])
            if key in seen:
                self.dropped[reason] += 1
            else:
                seen.add(key)
                yield self._texts[row]

    def _read_questions(self, negatives_file: Path) -> list[Question]:
        train = self._tables.of_split("train")
        negatives = _read_negatives(negatives_file, self._name) if len(train) else {}
        by_key: dict[str, Question] = {}
        of_query: dict[str, Question] = {}
        for query_id, text in zip(train["query_id"], train["text"], strict=True):
            if query_id not in negatives:
                raise InputError(f"{negatives_file}: expected a row for query {query_id!r}, found none; run mine again")
            question = by_key.setdefault(text_key(text), Question(query_id, text))
            of_query[query_id] = question
            self.dropped["queries_merged"] += question.query_id != query_id
            question.negatives += [self._row(row, negatives_file) for row in negatives[query_id]]
        qrels = self._tables.qrels
        columns = (qrels["query_id"], qrels["doc_id"], qrels["relevance"])
        for query_id, document_id, relevance in zip(*columns, strict=True):
            if query_id in of_query:
                row = self._row(document_id, f"source {self._name!r}: qrels")
                of_query[query_id].positives.append((row, int(relevance)))
        questions = [question for question in by_key.values() if question.positives]
        self.dropped["queries_without_positives"] += len(by_key) - len(questions)
        return questions

    def _row(self, document_id: str, where: Path | str) -> int:
        if document_id not in self._row_of:
            found = f"found {document_id!r}; run ingest and mine again"
            raise InputError(f"{where}: doc_id: expected a document of source {self._name!r}, {found}")
        return self._row_of[document_id]


class PairExamples:
    """The pairs of a similarity source, each once, and how one becomes an example."""

    def __init__(self, name: str, tables: PairTables) -> None:
        """Read the pairs; of equal ones (in either order) the first stays."""
        self._name = name
        self.dropped: Counter[str] = Counter(dict.fromkeys(STS_REASONS, 0))
        self._pairs = self._read_pairs(tables.of_split("train"))

    @property
    def ids(self) -> list[str]:
        """Ids of the pairs, in the order of the table."""
        return [pair_id for pair_id, _, _, _ in self._pairs]

    def build(self, number: int) -> TrainingExample:
        """Return pair ``number`` as an example."""
        pair_id, text_a, text_b, gold = self._pairs[number]
        return TrainingExample(
            task="sts",
            query=text_a,
            positives=(text_b,),
            negatives=(),
            scores=(gold,),
            id=pair_id,
            source=self._name,
        )

    def _read_pairs(self, train: pd.DataFrame) -> list[tuple[str, str, str, float]]:
        gold_of: dict[tuple[str, str], float] = {}
        pairs = []
        columns = (train["pair_id"], train["text_a"], train["text_b"], train["gold"].astype(float))
        for pair_id, text_a, text_b, gold in zip(*columns, strict=True):
            key = pair_key(text_a, text_b)
            if key not in gold_of:
                gold_of[key] = gold
                pairs.append((pair_id, text_a, text_b, gold))
            else:
                same = gold_of[key] == gold
                self.dropped["pairs_repeated" if same else "pairs_repeated_with_other_gold"] += 1
        return pairs


def _read_negatives(path: Path, name: str) -> dict[str, list[str]]:
    """Return the ids of the hard negatives of each query."""
    if not path.exists():
        raise InputError(f"source {name!r}: expected its hard negatives at {path}, found none; run mine")
    return {row["query_id"]: row["negatives"] for row in read_jsonl(path)}
