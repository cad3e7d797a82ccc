"""The unified record: one form for every training example of either task (CoDiEmb, section 2: ``t, q, d+, d-, y``).

An IR example is a query, its positives and its hard negatives; ``scores`` is empty. An STS example is a pair: ``query``
holds one text, ``positives`` *the other, whatever its score* (the one odd name here, kept so that both tasks share a
form), ``scores`` its gold value in [0, 1], ``negatives`` nothing.
"""

from dataclasses import dataclass
from typing import Literal

from codiemb_pipeline.errors import InputError

Task = Literal["ir", "sts"]
Split = Literal["train", "dev", "test"]
TASKS: tuple[Task, ...] = ("ir", "sts")
SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@dataclass(frozen=True, kw_only=True)
class TrainingExample:
    """One training example, checked on creation.

    Attributes:
        task: ``ir`` or ``sts``.
        query: the text asked, or the first text of a pair.
        positives: texts of relevant documents (one or more), or the second text of a pair (exactly one).
        negatives: texts of mined hard negatives; none for ``sts``.
        scores: empty for ``ir``; for ``sts`` one gold value in [0, 1].
        id: leads back to the row of the source.
        source: the data set it comes from.
    """

    task: Task
    query: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]
    scores: tuple[float, ...]
    id: str
    source: str

    def __post_init__(self) -> None:
        where = f"example {self.id!r} of source {self.source!r}"
        if self.task not in TASKS:
            raise InputError(f"{where}: task: expected 'ir' or 'sts', found {self.task!r}")
        for field in ("positives", "negatives", "scores"):
            if not isinstance(getattr(self, field), tuple):
                found = type(getattr(self, field)).__name__
                raise InputError(f"{where}: {field}: expected a tuple, found {found}")
        for field, texts in (("query", (self.query,)), ("positives", self.positives), ("negatives", self.negatives)):
            if not all(isinstance(text, str) and text.strip() for text in texts):
                raise InputError(f"{where}: {field}: expected non-empty text, found {texts!r}")
        self._check_ir(where) if self.task == "ir" else self._check_sts(where)

    def _check_ir(self, where: str) -> None:
        if not self.positives:
            raise InputError(f"{where}: positives: expected at least one relevant document, found none")
        if self.scores:
            raise InputError(f"{where}: scores: expected none for an ir example, found {self.scores!r}")

    def _check_sts(self, where: str) -> None:
        if len(self.positives) != 1 or self.negatives:
            counts = f"{len(self.positives)} positives and {len(self.negatives)} negatives"
            raise InputError(f"{where}: expected one other text and no negatives for an sts pair, found {counts}")
        if len(self.scores) != 1 or not isinstance(self.scores[0], int | float) or not 0.0 <= self.scores[0] <= 1.0:
            raise InputError(f"{where}: scores: expected one gold value in [0, 1], found {self.scores!r}")
