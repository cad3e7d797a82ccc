"""Readers of scored pairs: gold is rescaled from the declared range to [0, 1], a score outside it is a bad row."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.files import check_filled, read_lines, read_rows, read_text
from codiemb_pipeline.ingest.rows import BadRowError, Ledger, number_of, shown, text_of
from codiemb_pipeline.ingest.splits import keep_apart, split_of
from codiemb_pipeline.params.ingest import PairColumns, SourceParams
from codiemb_pipeline.schema import SPLITS
from codiemb_pipeline.source_tables import PAIR_COLUMNS, PairTables
from codiemb_pipeline.texts import pair_key

WORD_COLUMNS = PairColumns(text_a="word 1", text_b="word 2", score="score")
LEE_DOCUMENTS, LEE_SCORES = "lee.cor", "similarities0-1.txt"

Pair = tuple[str, str, str, float, str | None]  # id, two texts, gold, split where the files say so


def read_pairs_source(params: SourceParams, path: Path, seed: int, ledger: Ledger) -> PairTables:
    """Read a source of scored pairs.

    Args:
        params: of the source.
        path: its file or folder.
        seed: enters the splits.
        ledger: takes bad rows and counts.

    Raises:
        InputError: a file as a whole can't be used.
    """
    reader = {"word_pairs": _word_pairs, "lee": _lee, "pairs": _pairs}[params.reader]
    rows = list(reader(params, path, ledger))
    table = pd.DataFrame(rows, columns=PAIR_COLUMNS)
    keys = pd.Series([pair_key(a, b) for a, b in zip(table["text_a"], table["text_b"], strict=True)], dtype=object)
    if params.splits is not None:
        table["split"] = [split_of(key, params.splits, seed=seed, source=ledger.source) for key in keys]
    return PairTables(keep_apart(table, keys, ledger, "pairs"))


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
    rows: Iterator[tuple[int, dict[str, Any]]], params: SourceParams, columns: PairColumns, name: str, ledger: Ledger
) -> Iterator[tuple[str, str, str, float]]:
    """Yield the sound pairs."""
    for number, row in rows:
        try:
            texts = text_of(row, columns.text_a), text_of(row, columns.text_b)
            gold = rescale(number_of(row, columns.score), params.score_range, columns.score)
        except BadRowError as bad:
            ledger.reject(name, number, bad.field, bad.reason)
            continue
        yield f"{number}", *texts, gold


def _word_pairs(params: SourceParams, path: Path, ledger: Ledger) -> Iterator[Pair]:
    """gensim's word lists: tab-separated, lines that begin with # are comments."""
    check_filled(path, params.path)

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in read_lines(path, params.path, ledger):
            if not line.strip() or line.startswith("#"):
                continue
            ledger.rows += 1
            fields = line.split("\t")
            if len(fields) != 3:
                ledger.reject(params.path, number, "(line)", f"expected word, word, score; found {shown(line)}")
                continue
            yield number, dict(zip(("word 1", "word 2", "score"), fields, strict=True))

    for pair in _checked(rows(), params, WORD_COLUMNS, params.path, ledger):
        yield *pair, None


def _lee(params: SourceParams, path: Path, ledger: Ledger) -> Iterator[Pair]:
    """Lee, Pincombe and Welsh's 50 news documents with the mean human similarity of every two, as gensim ships them."""
    names = [f"{params.path}/{file}" for file in (LEE_DOCUMENTS, LEE_SCORES)]
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
        for _, text_a, text_b, gold in _checked(iter([(number, row)]), params, columns, names[1], ledger):
            yield f"{i + 1}-{j + 1}", text_a, text_b, gold, None


def _pairs(params: SourceParams, path: Path, ledger: Ledger) -> Iterator[Pair]:
    """A file, or with ``splits: null`` a folder with a file named after each split."""
    if params.splits is not None:
        yield from _pair_file(params, path, params.path, None, ledger)
        return
    files = sorted(file for file in path.iterdir() if file.stem in SPLITS) if path.is_dir() else []
    if not files:
        raise InputError(f"{params.path}: splits is null: expected a folder with train, dev or test files, found none")
    for file, other in pairwise(files):
        if file.stem == other.stem:
            raise InputError(f"{params.path}: expected one file a split, found {file.name} and {other.name}")
    for file in files:
        yield from _pair_file(params, file, f"{params.path}/{file.name}", file.stem, ledger)


def _pair_file(params: SourceParams, path: Path, name: str, split: str | None, ledger: Ledger) -> Iterator[Pair]:
    columns = params.columns
    rows = read_rows(path, name, ledger, [columns.text_a, columns.text_b, columns.score])
    for pair_id, *rest in _checked(rows, params, columns, name, ledger):
        yield f"{split}-{pair_id}" if split else pair_id, *rest, split
