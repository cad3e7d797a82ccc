"""The contamination audit: which training texts stand in a benchmark, equal or nearly so.

Any training text (query, positive, negative, sentence of a pair) is compared with any benchmark text (query, judged
document, sentence of a pair), and a query with each of its positives, or a pair, with any benchmark pair in either
order. The benchmarks are held in an index and the training texts stream past it: the 15 benchmarks have some 400
thousand texts, training sets tens of millions. What is found twice in one benchmark counts once.

The corpus of a retrieval source serves its training and its own test split alike. That a training document is judged
in that split is by design and no leak, as long as the queries differ; it is counted apart, as ``shared``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from tqdm import tqdm

from codiemb_pipeline.assemble.findings import SHOWN, Finding, Hit, Where
from codiemb_pipeline.assemble.near_duplicates import Match, TextIndex
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.assemble import AuditParams
from codiemb_pipeline.schema import TrainingExample
from codiemb_pipeline.texts import pair_key, text_key

if TYPE_CHECKING:
    from codiemb_pipeline.benchmarks.texts import BenchmarkText

CORPUS_KINDS = ("positive", "negative")


class _Place(NamedTuple):
    """Where in the benchmarks a text stands; ``side`` is 0 or 1 in a pair."""

    benchmark: str
    kind: str
    unit: int
    side: int


class Audit:
    """Counts benchmark texts among training examples, and takes them out where asked to."""

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
        self._places: list[list[_Place]] = []  # by row of the index
        self._shown: list[str] = []  # by row of the index, cut
        self._units: list[tuple[str, tuple[int, ...]]] = []  # id, rows
        self._sizes: dict[str, Counter[str]] = defaultdict(Counter)
        self._findings: dict[Where, Finding] = defaultdict(Finding)
        self._examples: Counter[str] = Counter()
        self._removed: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        for benchmark, text in tqdm(texts, desc="read benchmarks", unit="text", disable=None, leave=False):
            self._sizes[benchmark][text.kind] += 1
            self._units.append((text.id, tuple(self._row(part) for part in text.texts)))
            kind = "sentence" if text.kind == "pair" else text.kind
            for side, row in enumerate(self._units[-1][1]):
                self._places[row].append(_Place(benchmark, kind, len(self._units) - 1, side))

    def check(self, source: str, examples: list[TrainingExample]) -> tuple[list[TrainingExample], dict[str, int]]:
        """Look for benchmark texts in all training examples of a source.

        Returns:
            The examples, in mode ``drop`` without what was found; and how many ``examples``, ``positives`` and
            ``negatives`` were taken out, nothing in other modes.
        """
        removed: Counter[str] = Counter()
        kept = []
        for example in tqdm(examples, desc=f"audit {source}", unit="example", disable=None, leave=False):
            left = self._without_benchmarks(source, example, removed)
            if left is not None:
                kept.append(left)
        self._examples[source] += len(examples)
        if self._params.mode != "drop":
            return examples, {}
        return kept, {what: removed[what] for what in ("examples", "positives", "negatives")}

    def refuse(self) -> None:
        """In mode ``fail``, stop if anything to act on was found.

        Raises:
            InputError: says what was found where, with the first samples.
        """
        leaks = [where for where in sorted(self._findings) if self._acts_on(where.text, where.shared)]
        if self._params.mode != "fail" or not leaks:
            return
        lines = [f"  {_sentence(where, self._findings[where].to_dict())}" for where in leaks]
        raise InputError(
            "params.yaml: assemble.audit.mode is fail, and benchmark texts are among the training texts:\n"
            + "\n".join(lines)
            + "\nTake them out of the sources, or set assemble.audit.mode to drop or report."
        )

    def report(self) -> dict[str, Any]:
        """Return what was compared and found as plain JSON types."""
        findings = [{**where._asdict(), **self._findings[where].to_dict()} for where in sorted(self._findings)]
        removed = {
            source: {benchmark: dict(counts) for benchmark, counts in by_benchmark.items()}
            for source, by_benchmark in self._removed.items()
        }
        return {
            "mode": self._params.mode,
            "settings": self._params.model_dump(),
            "benchmarks": {name: dict(sizes) for name, sizes in self._sizes.items()},
            "sources": dict(self._examples),
            "findings": findings,
            "removed": removed if self._params.mode == "drop" else {},
        }

    def _row(self, text: str) -> int:
        row = self._index.add(text)
        if row == len(self._places):
            self._places.append([])
            self._shown.append(text[: SHOWN + 1])
        return row

    def _acts_on(self, kind: str, shared: bool) -> bool:
        return kind in self._params.act_on and not shared

    def _without_benchmarks(
        self, source: str, example: TrainingExample, removed: Counter[str]
    ) -> TrainingExample | None:
        """Return ``example`` without positives and negatives that stand in benchmarks; ``None`` if nothing is left."""
        ir = example.task == "ir"
        kinds = ("query", *CORPUS_KINDS) if ir else ("sentence", "sentence", "negative")
        guilty = self._look_up(source, kinds[0], example.query, example.id)
        positives = [
            self._look_up(source, kinds[1], text, example.id) | self._look_up_pair(source, example, text)
            for text in example.positives
        ]
        negatives = [self._look_up(source, kinds[2], text, example.id) for text in example.negatives]
        clean = tuple(text for text, found in zip(example.positives, positives, strict=True) if not found)
        others = tuple(text for text, found in zip(example.negatives, negatives, strict=True) if not found)
        if guilty or not clean:
            self._remove(source, "examples", [guilty.union(*positives)], removed)
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
        """Record all that ``text`` matches and return the benchmarks for which it must go."""
        guilty = set()
        matches = self._index.find(text)
        key = text_key(text) if matches else ""
        for match in matches:
            for benchmark, place_kind, unit, _ in self._places[match.row]:
                shared = kind in CORPUS_KINDS and place_kind == "document" and self._corpora.get(benchmark) == source
                hit = Hit(
                    key=key,
                    texts=(text,),
                    id=example_id,
                    unit=unit,
                    benchmark_id=self._units[unit][0],
                    benchmark_texts=(self._shown[match.row],),
                    similarity=match.similarity,
                    estimate=match.estimate,
                )
                self._findings[Where(source, benchmark, kind, place_kind, shared)].add(hit, self._params.samples)
                if self._acts_on(place_kind, shared):
                    guilty.add(benchmark)
        return guilty

    def _look_up_pair(self, source: str, example: TrainingExample, other: str) -> set[str]:
        """Record the benchmark pairs of which query and ``other`` match a side each."""
        sides: dict[tuple[int, int], Match] = {}
        for match in self._index.find(other):
            for place in self._places[match.row]:
                if place.kind == "sentence":
                    sides.setdefault((place.unit, place.side), match)  # the most alike come first
        found: dict[tuple[str, int], tuple[Match, Match]] = {}
        for match in self._index.find(example.query) if sides else ():
            for place in self._places[match.row]:
                opposite = sides.get((place.unit, 1 - place.side)) if place.kind == "sentence" else None
                best = found.get((place.benchmark, place.unit))
                if opposite and (best is None or _least(match, opposite) > _least(*best)):
                    found[place.benchmark, place.unit] = (match, opposite)
        # Equal pairs first, then the most alike.
        for (benchmark, unit), both in sorted(found.items(), key=lambda item: -_least(*item[1])):
            estimates = [match.estimate for match in both if match.estimate is not None]
            hit = Hit(
                key=pair_key(example.query, other),
                texts=(example.query, other),
                id=example.id,
                unit=unit,
                benchmark_id=self._units[unit][0],
                benchmark_texts=tuple(self._shown[match.row] for match in both),
                similarity=_least(*both),
                estimate=min(estimates, default=None),
            )
            self._findings[Where(source, benchmark, "pair", "pair", False)].add(hit, self._params.samples)
        return {benchmark for benchmark, _ in found} if self._acts_on("pair", False) else set()


def _least(match: Match, other: Match) -> float:
    return min(match.similarity, other.similarity)


def _sentence(where: Where, finding: dict[str, Any]) -> str:
    found = f"{where.source}: {where.training} in {where.benchmark}, {where.text}: {finding['exact']} equal"
    first = finding["samples"][:1]
    shown = [
        f"; the first: {' | '.join(s['training_texts'])!r}, there {' | '.join(s['benchmark_texts'])!r}" for s in first
    ]
    return f"{found}, {finding['near']} nearly equal{''.join(shown)}"
