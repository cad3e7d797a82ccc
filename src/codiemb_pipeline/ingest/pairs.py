"""Readers of scored pairs: gold is rescaled from the declared range to [0, 1], a score outside it is a bad row.

Pairs stream to disk; of each, a digest of 16 bytes, its split and its place in a limit are in memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from codiemb_pipeline.artifacts.ingest import PAIR_SCHEMA, TableWriter, keep_rows
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.digests import digest_of
from codiemb_pipeline.ingest.files import check_filled, read_lines, read_rows, read_text
from codiemb_pipeline.ingest.layouts import Pairs
from codiemb_pipeline.ingest.origin import Source, expected, find
from codiemb_pipeline.ingest.rows import BadRowError, Ledger, number_of, shown, text_of
from codiemb_pipeline.ingest.splits import limit_place, rows_apart, split_of, within_limit
from codiemb_pipeline.params.ingest import PairColumns
from codiemb_pipeline.schema import SPLITS
from codiemb_pipeline.texts import pair_key

WORD_COLUMNS = PairColumns(text_a="word 1", text_b="word 2", score="score")
LEE_DOCUMENTS, LEE_SCORES = "lee.cor", "similarities0-1.txt"

Pair = tuple[str, str, str, float, str | None]  # id, two texts, gold, split where the files say so


def read_pairs_source(source: Source, path: Path, seed: int, ledger: Ledger, folder: Path) -> dict[str, object]:
    """Read a source of scored pairs into ``folder``.

    Args:
        source: its description.
        path: its file or folder.
        seed: enters the splits.
        ledger: takes bad rows and counts.
        folder: an existing one, for the table.

    Returns:
        Counts: ``splits``, pairs by split.

    Raises:
        InputError: a file as a whole can't be used.
    """
    reader = {"word_pairs": _word_pairs, "lee": _lee, "pairs": _pairs}[source.reader]
    digests, split_numbers, places = bytearray(), array("b"), array("d")
    with TableWriter(folder / "pairs.parquet", PAIR_SCHEMA) as table:
        for pair_id, text_a, text_b, gold, own_split in reader(source, path, ledger):
            key = pair_key(text_a, text_b)
            shares = source.splits
            split = own_split if shares is None else split_of(key, shares, seed=seed, source=ledger.source)
            digests += digest_of(repr(key))
            split_numbers.append(SPLITS.index(split))
            if source.limit is not None:
                places.append(limit_place(key, seed=seed, source=ledger.source))
            table.add((pair_id, text_a, text_b, gold, split))
    splits = np.frombuffer(split_numbers, dtype=np.int8)
    keep = rows_apart(digests, splits, ledger, "pairs")
    if source.limit is not None:
        within = within_limit(np.frombuffer(places)[keep], source.limit)
        ledger.leave_out("pairs over the limit", int((~within).sum()))
        keep[keep] = within
    keep_rows(folder / "pairs.parquet", keep)
    counts = np.bincount(splits[keep], minlength=len(SPLITS)).tolist()
    return {"splits": dict(zip(SPLITS, counts, strict=True))}


def rescale(score: float, score_range: tuple[float, float], field: str) -> float:
    """Return ``score`` moved from ``score_range`` to [0, 1].

    Raises:
        BadRowError: it lies outside.
    """
    low, high = score_range
    if not low <= score <= high:
        raise BadRowError(field, f"expected a score within [{low:g}, {high:g}] (score_range), found {score:g}")
    return (score - low) / (high - low)


def _checked(
    rows: Iterator[tuple[int, dict[str, Any]]], source: Source, columns: PairColumns, name: str, ledger: Ledger
) -> Iterator[tuple[str, str, str, float]]:
    """Yield the sound pairs."""
    for number, row in rows:
        try:
            texts = text_of(row, columns.text_a), text_of(row, columns.text_b)
            gold = _gold(row, columns.score, source)
        except BadRowError as bad:
            ledger.reject(name, number, bad.field, bad.reason)
            continue
        if gold is None:
            ledger.leave_out("pairs without a label")
            continue
        yield f"{number}", *texts, gold


def _gold(row: dict[str, Any], field: str, source: Source) -> float | None:
    """Return gold in [0, 1], ``None`` for a row whose label says that it has none.

    Raises:
        BadRowError: the score is no number in the range, or the label none of those declared.
    """
    layout = source.declared.layout if source.declared is not None else None
    if not isinstance(layout, Pairs) or layout.labels is None:
        return rescale(number_of(row, field), source.score_range, field)
    label = str(row[field]).strip()
    if label in layout.unlabelled:
        return None
    if label not in layout.labels:
        raise BadRowError(field, f"expected a label of {', '.join(layout.labels)}, found {shown(row[field])}")
    return layout.labels[label]


def _word_pairs(source: Source, path: Path, ledger: Ledger) -> Iterator[Pair]:
    """gensim's word lists: tab-separated, lines that begin with # are comments."""
    check_filled(path, source.path)

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in read_lines(path, source.path, ledger):
            if not line.strip() or line.startswith("#"):
                continue
            ledger.rows += 1
            fields = line.split("\t")
            if len(fields) != 3:
                ledger.reject(source.path, number, "(line)", f"expected word, word, score; found {shown(line)}")
                continue
            yield number, dict(zip(("word 1", "word 2", "score"), fields, strict=True))

    for pair in _checked(rows(), source, WORD_COLUMNS, source.path, ledger):
        yield *pair, None


def _lee(source: Source, path: Path, ledger: Ledger) -> Iterator[Pair]:
    """Lee, Pincombe and Welsh's 50 news documents with the mean human similarity of every two, as gensim ships them."""
    names = [f"{source.path}/{file}" for file in (LEE_DOCUMENTS, LEE_SCORES)]
    check_filled(path / LEE_DOCUMENTS, names[0])
    # Not UTF-8: line 41 holds a pound sign as a single byte.
    documents = (path / LEE_DOCUMENTS).read_bytes().decode("latin-1").strip().split("\n")
    matrix = [line.split("\t") for line in read_text(path / LEE_SCORES, names[1]).strip().splitlines()]
    if len(matrix) != len(documents) or any(len(row) != len(documents) for row in matrix):
        raise InputError(f"{names[1]}: expected {len(documents)} rows and columns, one per document of {names[0]}")

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        for i, first in enumerate(documents):
            for j in range(i + 1, len(documents)):
                ledger.rows += 1
                yield i + 1, {"text_a": first, "text_b": documents[j], f"column {j + 1}": matrix[i][j], "place": (i, j)}

    for number, row in rows():
        i, j = row["place"]
        columns = PairColumns(text_a="text_a", text_b="text_b", score=f"column {j + 1}")
        for _, text_a, text_b, gold in _checked(iter([(number, row)]), source, columns, names[1], ledger):
            yield f"{i + 1}-{j + 1}", text_a, text_b, gold, None


def _pairs(source: Source, path: Path, ledger: Ledger) -> Iterator[Pair]:
    """A file, or with ``splits: null`` a folder with a file named after each split; a registered source's files."""
    if source.declared is not None:
        yield from _registered(source, path, ledger)
        return
    if source.splits is not None:
        yield from _pair_file(source, path, source.path, None, ledger)
        return
    files = sorted(file for file in path.iterdir() if file.stem in SPLITS) if path.is_dir() else []
    if not files:
        raise InputError(f"{source.path}: splits is null: expected a folder with train, dev or test files, found none")
    for file, other in pairwise(files):
        if file.stem == other.stem:
            raise InputError(f"{source.path}: expected one file a split, found {file.name} and {other.name}")
    for file in files:
        yield from _pair_file(source, file, f"{source.path}/{file.name}", file.stem, ledger)


def _registered(source: Source, path: Path, ledger: Ledger) -> Iterator[Pair]:
    """The training file; with ``splits: null`` the dev file too, where the registry declares one and it is there."""
    layout: Pairs = source.declared.layout
    wanted = {"train": layout.train} | ({"dev": layout.dev} if source.splits is None else {})
    found = (
        {"train": [path]} if path.is_file() else {split: find(source, path, names) for split, names in wanted.items()}
    )
    if not found["train"]:
        raise InputError(f"{source.path}: expected {expected(source.declared)}, found none at {path}")
    for split, files in found.items():
        if files:
            name = source.path if path.is_file() else f"{source.path}/{files[0].relative_to(path).as_posix()}"
            name += f" and {len(files) - 1} more" * (len(files) > 1)
            yield from _pair_file(source, files, name, split if source.splits is None else None, ledger)


def _pair_file(source: Source, path: Path | list[Path], name: str, split: str | None, ledger: Ledger) -> Iterator[Pair]:
    columns = source.columns
    rows = read_rows(path, name, ledger, [columns.text_a, columns.text_b, columns.score])
    for pair_id, *rest in _checked(rows, source, columns, name, ledger):
        yield f"{split}-{pair_id}" if split else pair_id, *rest, split
