"""What ``assemble`` hands on: every text tokenised once, and examples as numbers that point at texts.

All files are plain ``.npy`` arrays, memory-mapped when read and the same bytes whenever the same rows are written (an
Arrow folder is not). A text is stored once behind each prompt. Texts that count as equal (``texts.text_key``), whatever
their prompts, share a key: that is what false-negative masks compare.

    tokens/     tokens.npy (int32, flat), offsets.npy (int64, texts + 1), prompt_lengths.npy (int32, texts),
                keys.npy (int64, texts)
    train/      query.npy (int64), positives.npy + positives_offsets.npy, negatives.npy + negatives_offsets.npy (int64),
                gold.npy (float32; NaN for ir), sources.json: [{name, task, start, stop}], a source's examples in a row
    dev/<source>/   ir: queries.npy, documents.npy (int64 text ids), qrels.npy (int64 (R, 3): row in queries, row in
                documents, relevance); sts: pairs.npy (int64 (n, 2)), gold.npy (float32)
    manifest.json   counts (:class:`Manifest`)

Beside the folder lies ``contamination.json`` (:class:`Contamination`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from pydantic import Field

from codiemb_pipeline.artifacts.base import Artifact, SourceOrigin
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.schema import Task


class TextCounts(Artifact):
    """Different texts, their tokens, and how many fill ``encoder.max_length``, so that most of them are cut."""

    texts: int
    tokens: int
    texts_at_max_length: int


class TrainCounts(TextCounts):
    """What one source gives to training; ``dropped`` counts what was left out, by reason.

    ``origins``, with commit and licence, are those of ``counts.json``.
    """

    task: Task
    examples: int
    positives: int
    negatives: int
    examples_without_negatives: int | None = None
    dropped: dict[str, int]
    origins: tuple[SourceOrigin, ...] = ()


class DevCounts(TextCounts):
    """The dev set of one source: queries, documents and qrels, or pairs."""

    task: Task
    queries: int | None = None
    documents: int | None = None
    qrels: int | None = None
    pairs: int | None = None
    dropped: dict[str, int]


class Manifest(TextCounts):
    """The content of ``manifest.json``, by source; ``prompts`` is a digest of all prompts."""

    written_by: ClassVar[str] = "assemble"
    train: dict[str, TrainCounts]
    dev: dict[str, DevCounts]
    max_length: int
    prompts: str


class FindingKey(NamedTuple):
    """The group of matches that a finding counts.

    Attributes:
        source: name of the training source.
        benchmark: name of the benchmark.
        training: kind of the training text: ``query``, ``positive``, ``negative``, ``sentence`` or ``pair``.
        text: kind of the benchmark's text: ``query``, ``document``, ``sentence`` or ``pair``.
        shared: whether the two belong to the one corpus that train and test of a source share.
    """

    source: str
    benchmark: str
    training: str
    text: str
    shared: bool


class Sample(Artifact):
    """A match: texts and ids on both sides, the Jaccard similarity of their n-grams and MinHash's estimate of it."""

    exact: bool
    training_id: str
    training_texts: list[str]
    benchmark_id: str
    benchmark_texts: list[str]
    similarity: float
    estimate: float | None


class Finding(Artifact):
    """Counts and samples of one :class:`FindingKey`: different training texts, and benchmark texts they match."""

    source: str
    benchmark: str
    training: str
    text: str
    shared: bool
    exact: int
    near: int
    benchmark_texts: int
    samples: list[Sample]


class Contamination(Artifact):
    """The content of ``contamination.json``; ``mode`` alone where the audit is off.

    Attributes:
        settings: the section ``assemble.audit``.
        equal_by: what two texts share that are counted as equal (``exact``).
        benchmarks: texts of each benchmark, by kind.
        sources: examples of each source that were compared.
        removed: by source and benchmark, how many examples, positives and negatives mode ``drop`` removed.
    """

    written_by: ClassVar[str] = "assemble"
    mode: str
    settings: dict[str, Any] = Field({})
    equal_by: str = "coarse key: letters, marks and digits after NFKC and case folding"
    benchmarks: dict[str, dict[str, int]] = Field({})
    sources: dict[str, int] = Field({})
    findings: list[Finding] = Field([])
    removed: dict[str, dict[str, dict[str, int]]] = Field({})


def save_ragged(folder: Path, name: str, rows: Iterable[Sequence[int]], dtype: type = np.int64) -> None:
    """Write lists of numbers of any lengths as ``<name>.npy`` (flat) and ``<name>_offsets.npy`` (rows + 1)."""
    arrays = [np.asarray(row, dtype=dtype) for row in rows]
    offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
    np.cumsum([len(array) for array in arrays], out=offsets[1:])
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name}.npy", np.concatenate([np.empty(0, dtype=dtype), *arrays]))
    np.save(folder / f"{name}_offsets.npy", offsets)


class TokenStore:
    """Token ids of every text, memory-mapped."""

    def __init__(self, folder: Path) -> None:
        self._tokens = np.load(folder / "tokens.npy", mmap_mode="r")
        self._offsets = np.load(folder / "offsets.npy", mmap_mode="r")
        self._prompt_lengths = np.load(folder / "prompt_lengths.npy", mmap_mode="r")
        self._keys = np.load(folder / "keys.npy", mmap_mode="r")

    @staticmethod
    def write(
        folder: Path,
        token_ids: Iterable[Sequence[int]],
        prompt_lengths: Sequence[int],
        keys: Sequence[int] | None = None,
    ) -> None:
        """Write texts: token ids with special tokens, how many leading ones are prompt, and numbers of the keys.

        Without ``keys`` no two texts are equal.
        """
        save_ragged(folder, "tokens", token_ids, dtype=np.int32)
        (folder / "tokens_offsets.npy").rename(folder / "offsets.npy")
        np.save(folder / "prompt_lengths.npy", np.asarray(prompt_lengths, dtype=np.int32))
        keys = np.arange(len(prompt_lengths)) if keys is None else keys
        np.save(folder / "keys.npy", np.asarray(keys, dtype=np.int64))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, text: int) -> np.ndarray:
        """Return the token ids of ``text``, int32 (T,)."""
        return self._tokens[self._offsets[text] : self._offsets[text + 1]]

    def lengths(self, texts: np.ndarray) -> np.ndarray:
        """Return the numbers of tokens of ``texts``, int64."""
        return self._offsets[texts + 1] - self._offsets[texts]

    def prompt_lengths(self, texts: np.ndarray) -> np.ndarray:
        """Return how many leading tokens of ``texts`` are prompt, int32."""
        return self._prompt_lengths[texts]

    def keys(self, texts: np.ndarray) -> np.ndarray:
        """Return the numbers of the keys of ``texts``, int64, the same exactly where two texts count as equal."""
        return self._keys[texts]


@dataclass(frozen=True, kw_only=True)
class SourceRange:
    """The examples ``start`` to ``stop`` are of source ``name``."""

    name: str
    task: Task
    start: int
    stop: int


class TrainingArrays:
    """The training examples as text ids, memory-mapped."""

    def __init__(self, folder: Path) -> None:
        names = ("query", "positives", "positives_offsets", "negatives", "negatives_offsets", "gold")
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}
        self.query, self.gold = arrays["query"], arrays["gold"]
        self._positives, self._positives_offsets = arrays["positives"], arrays["positives_offsets"]
        self._negatives, self._negatives_offsets = arrays["negatives"], arrays["negatives_offsets"]
        self.sources = [SourceRange(**entry) for entry in read_json(folder / "sources.json")]

    @staticmethod
    def write(
        folder: Path,
        *,
        query: Sequence[int],
        positives: Sequence[Sequence[int]],
        negatives: Sequence[Sequence[int]],
        gold: Sequence[float],
        sources: Sequence[SourceRange],
    ) -> None:
        """Write examples given as text ids, those of one source in a row; ``gold`` is NaN for ``ir``."""
        save_ragged(folder, "positives", positives)
        save_ragged(folder, "negatives", negatives)
        np.save(folder / "query.npy", np.asarray(query, dtype=np.int64))
        np.save(folder / "gold.npy", np.asarray(gold, dtype=np.float32))
        write_json(folder / "sources.json", [vars(source) for source in sources])

    def __len__(self) -> int:
        return len(self.query)

    def positives(self, example: int) -> np.ndarray:
        """Return the text ids of the positives, int64."""
        return self._positives[self._positives_offsets[example] : self._positives_offsets[example + 1]]

    def negatives(self, example: int) -> np.ndarray:
        """Return the text ids of the hard negatives, int64."""
        return self._negatives[self._negatives_offsets[example] : self._negatives_offsets[example + 1]]


@dataclass(frozen=True)
class DevSet:
    """A held-out set of source ``name``: arrays, each in a file of its own."""

    name: str

    def write(self, folder: Path) -> None:
        """Write below ``folder``/<name>."""
        (folder / self.name).mkdir(parents=True, exist_ok=True)
        for field in fields(self)[1:]:
            np.save(folder / self.name / f"{field.name}.npy", getattr(self, field.name))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what :meth:`write` wrote to ``folder``."""
        return cls(folder.name, *(np.load(folder / f"{field.name}.npy") for field in fields(cls)[1:]))


@dataclass(frozen=True)
class DevRetrieval(DevSet):
    """Held-out retrieval: text ids of queries and documents, int64, and qrels by row, int64 (R, 3)."""

    queries: np.ndarray
    documents: np.ndarray
    qrels: np.ndarray

    def texts(self) -> np.ndarray:
        """Return the ids of its texts, each once."""
        return np.unique(np.concatenate([self.queries, self.documents]))


@dataclass(frozen=True)
class DevPairs(DevSet):
    """Held-out similarity: text ids of pairs, int64 (n, 2), and gold, float32 (n,)."""

    pairs: np.ndarray
    gold: np.ndarray

    def texts(self) -> np.ndarray:
        """Return the ids of its texts, each once."""
        return np.unique(self.pairs)


def read_dev(folder: Path) -> list[DevRetrieval | DevPairs]:
    """Read all dev sets below ``folder``, by name."""
    entries = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.exists() else []
    return [(DevPairs if (entry / "pairs.npy").exists() else DevRetrieval).read(entry) for entry in entries]
