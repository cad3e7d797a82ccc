"""The contamination audit: which training texts stand in a benchmark, equal or nearly so.

Texts are equal here if they have the same letters, marks and digits (``texts.coarse_key``), which is less than the rest
of the pipeline asks for. How many different training texts match is counted by ``texts.text_key``.

Any training text (query, positive, negative, sentence of a pair) is compared with any benchmark text (query, relevant
document, sentence of a pair), and a query with each of its positives, or a pair, with any benchmark pair in either
order. The benchmarks are held in an index and the training texts stream past it: the 15 benchmarks have some 400
thousand texts, training sets tens of millions. A text found twice in one benchmark counts once.

The training and test queries of a retrieval source search the same corpus. A training document that is relevant in the
test split is therefore expected; it is counted separately, as ``shared``.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from codiemb_pipeline.artifacts.assemble import Contamination, Finding, FindingKey, Sample
from codiemb_pipeline.assemble.near_duplicates import Duplicate, TextIndex
from codiemb_pipeline.benchmarks.data import BenchmarkText, benchmark_texts
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.assemble import AuditParams
from codiemb_pipeline.params.evaluate import Benchmark, LocalRetrieval
from codiemb_pipeline.progress import ProgressBar
from codiemb_pipeline.schema import TrainingExample
from codiemb_pipeline.texts import pair_key, text_key

CORPUS_KINDS = ("positive", "negative")
SHOWN = 160  # characters of a sample


class _Location(NamedTuple):
    """Where a text stands in the benchmarks; ``side`` is 0 or 1 in a pair."""

    benchmark: str
    kind: str
    unit: int
    side: int


class _Unit(NamedTuple):
    """A text or pair of a benchmark: its id, and the rows of its texts in the index."""

    id: str
    rows: tuple[int, ...]


@dataclass
class _Matches:
    """Training texts of one kind that match benchmark texts of one kind."""

    exact_by_key: dict[object, bool] = field(default_factory=dict)
    units: set[int] = field(default_factory=set)
    samples: dict[bool, list[Sample]] = field(default_factory=lambda: {True: [], False: []})

    def add(self, key: object, unit: int, exact: bool) -> bool:
        """Count a match of the training text ``key``, and return whether it is new, and so fit for a sample.

        A text is shown at most once as equal and once as near: its first match is its most similar.
        """
        known = self.exact_by_key.get(key)
        self.exact_by_key[key] = exact or bool(known)
        self.units.add(unit)
        return known is None or (exact and not known)

    def finding(self, key: FindingKey) -> Finding:
        exact = sum(self.exact_by_key.values())
        return Finding(
            **key._asdict(),
            exact=exact,
            near=len(self.exact_by_key) - exact,
            benchmark_texts=len(self.units),
            samples=self.samples[True] + self.samples[False],
        )


class Audit:
    """Counts benchmark texts among training examples, and removes them in mode ``drop``."""

    def __init__(
        self, params: AuditParams, texts: Iterable[tuple[str, BenchmarkText]], corpora: Mapping[str, str]
    ) -> None:
        """Read all benchmarks.

        Args:
            params: the ``assemble.audit`` section.
            texts: benchmark and text, all of them.
            corpora: of each retrieval benchmark made of a source's own split, the source.
        """
        self._params, self._corpora = params, corpora
        self._index = TextIndex(params)
        self._locations: list[list[_Location]] = []  # by row of the index
        self._shown: list[str] = []  # by row of the index, cut
        self._units: list[_Unit] = []
        self._sizes: dict[str, Counter[str]] = defaultdict(Counter)
        self._matches: dict[FindingKey, _Matches] = defaultdict(_Matches)
        self._examples: Counter[str] = Counter()
        self._removed: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        for benchmark, text in ProgressBar(texts, desc="read benchmarks", unit="texts"):
            self._sizes[benchmark][text.kind] += 1
            unit = _Unit(text.id, tuple(self._row(part) for part in text.texts))
            kind = "sentence" if text.kind == "pair" else text.kind
            for side, row in enumerate(unit.rows):
                self._locations[row].append(_Location(benchmark, kind, len(self._units), side))
            self._units.append(unit)

    def check(self, source: str, examples: list[TrainingExample]) -> tuple[list[TrainingExample], dict[str, int]]:
        """Look for benchmark texts in all training examples of a source.

        Returns:
            The examples, in mode ``drop`` without what was found; and how many ``examples``, ``positives`` and
            ``negatives`` were removed (empty in other modes).
        """
        removed: Counter[str] = Counter()
        kept = []
        for example in ProgressBar(examples, desc=f"audit {source}", unit="examples"):
            left = self._without_benchmarks(source, example, removed)
            if left is not None:
                kept.append(left)
        self._examples[source] += len(examples)
        if self._params.mode != "drop":
            return examples, {}
        return kept, {what: removed[what] for what in ("examples", "positives", "negatives")}

    def refuse(self) -> None:
        """In mode ``fail``, stop if a finding is of a kind in ``act_on``.

        Raises:
            InputError: lists the findings, with the first sample of each.
        """
        leaks = [entry for entry in self._findings() if self._acts_on(entry.text, entry.shared)]
        if self._params.mode != "fail" or not leaks:
            return
        raise InputError(
            "params.yaml: assemble.audit.mode is fail, and benchmark texts are among the training texts:\n"
            + "\n".join(f"  {_sentence(entry)}" for entry in leaks)
            + "\nRemove them from the sources, or set assemble.audit.mode to drop or report."
        )

    def report(self) -> Contamination:
        """Return what was compared, found and removed."""
        return Contamination(
            mode=self._params.mode,
            settings=self._params.model_dump(),
            benchmarks=self._sizes,
            sources=self._examples,
            findings=self._findings(),
            removed=self._removed if self._params.mode == "drop" else {},
        )

    def _findings(self) -> list[Finding]:
        return [self._matches[key].finding(key) for key in sorted(self._matches)]

    def _row(self, text: str) -> int:
        row = self._index.add(text)
        if row == len(self._locations):
            self._locations.append([])
            self._shown.append(_cut(text))
        return row

    def _acts_on(self, kind: str, shared: bool) -> bool:
        return kind in self._params.act_on and not shared

    def _without_benchmarks(
        self, source: str, example: TrainingExample, removed: Counter[str]
    ) -> TrainingExample | None:
        """Return ``example`` without positives and negatives that stand in benchmarks; ``None`` if nothing is left."""
        ir = example.task == "ir"
        kinds = ("query", *CORPUS_KINDS) if ir else ("sentence", "sentence", "negative")
        leaks = self._look_up(source, kinds[0], example.query, example.id)
        positives = [
            self._look_up(source, kinds[1], text, example.id) | self._look_up_pair(source, example, text)
            for text in example.positives
        ]
        negatives = [self._look_up(source, kinds[2], text, example.id) for text in example.negatives]
        clean = tuple(text for text, found in zip(example.positives, positives, strict=True) if not found)
        others = tuple(text for text, found in zip(example.negatives, negatives, strict=True) if not found)
        if leaks or not clean:
            self._remove(source, "examples", [leaks.union(*positives)], removed)
            return None
        self._remove(source, "positives", positives, removed)
        self._remove(source, "negatives", negatives, removed)
        return example if not any((*positives, *negatives)) else replace(example, positives=clean, negatives=others)

    def _remove(self, source: str, what: str, found: list[set[str]], removed: Counter[str]) -> None:
        for benchmarks in filter(None, found):
            removed[what] += 1
            for benchmark in benchmarks:
                self._removed[source][benchmark][what] += 1

    def _look_up(self, source: str, kind: str, text: str, example_id: str) -> set[str]:
        """Record all matches of ``text`` and return the benchmarks because of which it must go."""
        leaks = set()
        duplicates = self._index.find(text)
        key = text_key(text) if duplicates else ""
        for duplicate in duplicates:
            for benchmark, text_kind, unit, _ in self._locations[duplicate.row]:
                shared = kind in CORPUS_KINDS and text_kind == "document" and self._corpora.get(benchmark) == source
                finding = FindingKey(source, benchmark, kind, text_kind, shared)
                self._record(finding, key, unit, example_id, (text,), (duplicate,))
                if self._acts_on(text_kind, shared):
                    leaks.add(benchmark)
        return leaks

    def _look_up_pair(self, source: str, example: TrainingExample, other: str) -> set[str]:
        """Record the benchmark pairs of which query and ``other`` match a side each."""
        sides: dict[tuple[int, int], Duplicate] = {}
        for duplicate in self._index.find(other):
            for location in self._locations[duplicate.row]:
                if location.kind == "sentence":
                    sides.setdefault((location.unit, location.side), duplicate)  # the most similar come first
        found: dict[tuple[str, int], tuple[Duplicate, Duplicate]] = {}
        for duplicate in self._index.find(example.query) if sides else ():
            for location in self._locations[duplicate.row]:
                opposite = sides.get((location.unit, 1 - location.side)) if location.kind == "sentence" else None
                best = found.get((location.benchmark, location.unit))
                if opposite and (best is None or _least(duplicate, opposite) > _least(*best)):
                    found[location.benchmark, location.unit] = (duplicate, opposite)
        # Equal pairs first, then the most similar.
        for (benchmark, unit), both in sorted(found.items(), key=lambda item: -_least(*item[1])):
            finding = FindingKey(source, benchmark, "pair", "pair", shared=False)
            texts = (example.query, other)
            self._record(finding, pair_key(*texts), unit, example.id, texts, both)
        return {benchmark for benchmark, _ in found} if self._acts_on("pair", False) else set()

    def _record(
        self,
        finding: FindingKey,
        key: object,
        unit: int,
        example_id: str,
        texts: tuple[str, ...],
        duplicates: tuple[Duplicate, ...],
    ) -> None:
        """Count a match of one text, or of both texts of a pair, whose similarity is that of its less similar side."""
        estimates = [duplicate.estimate for duplicate in duplicates if duplicate.estimate is not None]
        matches, exact = self._matches[finding], not estimates
        if matches.add(key, unit, exact) and len(matches.samples[exact]) < self._params.samples:
            sample = Sample(
                exact=exact,
                training_id=example_id,
                training_texts=[_cut(text) for text in texts],
                benchmark_id=self._units[unit].id,
                benchmark_texts=[self._shown[duplicate.row] for duplicate in duplicates],
                similarity=round(min(duplicate.similarity for duplicate in duplicates), 4),
                estimate=None if exact else round(min(estimates), 4),
            )
            matches.samples[exact].append(sample)


def open_audit(params: AuditParams, benchmarks: Mapping[str, Benchmark], sources: Path) -> Audit | None:
    """Return the audit against all ``benchmarks``; ``None`` if it is off, and then no benchmark is read.

    Args:
        params: the ``assemble.audit`` section.
        benchmarks: ``evaluate.benchmarks``, by name.
        sources: the folder ``ingest`` wrote, for benchmarks made of a source's own split.

    Raises:
        InputError: a benchmark cannot be read; names it.
    """
    if params.mode == "off":
        return None
    corpora = {name: entry.source for name, entry in benchmarks.items() if isinstance(entry, LocalRetrieval)}

    def texts() -> Iterator[tuple[str, BenchmarkText]]:
        for name, entry in benchmarks.items():
            yield from ((name, text) for text in benchmark_texts(name, entry, sources))

    return Audit(params, texts(), corpora)


def _least(first: Duplicate, second: Duplicate) -> float:
    return min(first.similarity, second.similarity)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _sentence(finding: Finding) -> str:
    found = f"{finding.source}: {finding.training} in {finding.benchmark}, {finding.text}: {finding.exact} equal"
    first = "".join(
        f"; the first: {' | '.join(sample.training_texts)!r}, there {' | '.join(sample.benchmark_texts)!r}"
        for sample in finding.samples[:1]
    )
    return f"{found}, {finding.near} nearly equal{first}"
