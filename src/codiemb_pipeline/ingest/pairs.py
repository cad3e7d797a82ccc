"""Readers of scored pairs. Pairs stream to disk; in memory are 16 bytes of hash, the split and the place of each."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from codiemb_pipeline.artifacts.ingest import PAIR_SCHEMA, SourceCounts, TableWriter, keep_rows, parquet_batches
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.ingest.compressed import content
from codiemb_pipeline.ingest.files import check_filled, read_batches, read_lines
from codiemb_pipeline.ingest.hashing import (
    KEY_TYPES,
    SPLIT_TYPE,
    hashes_of,
    place_of,
    rows_apart,
    splits_of,
    within_limit,
)
from codiemb_pipeline.ingest.registry import Pairs
from codiemb_pipeline.ingest.sources import SourceFiles, expected_files, name_of, own_files
from codiemb_pipeline.ingest.validation import Batch, RejectLog, shown
from codiemb_pipeline.schema import SPLITS
from codiemb_pipeline.texts import pair_key

LEE_DOCUMENTS, LEE_SCORES = "lee.cor", "similarities0-1.txt"

Part = tuple[Batch, str | None, list[str]]  # rows, their split where the files have one, their ids


def read_pairs_source(source: SourceFiles, seed: int, log: RejectLog, folder: Path) -> SourceCounts:
    """Read a source of scored pairs into ``folder``, an existing one; ``seed`` enters the splits.

    Raises:
        InputError: a file as a whole cannot be used.
    """
    reader = {"word_pairs": _word_pairs, "lee": _lee}.get(source.params.reader, _pairs)
    shares, limit = source.params.splits, source.params.limit
    hashes, splits, places = [pl.DataFrame(schema=KEY_TYPES)], [pl.Series(dtype=SPLIT_TYPE)], [np.empty(0)]
    with TableWriter(folder / "pairs.parquet", PAIR_SCHEMA) as table:
        for batch, split, ids in reader(source, log):
            sound = _sound(batch, source.layout, pl.Series(ids, dtype=pl.String), log)
            keys = list(map(pair_key, sound["text_a"], sound["text_b"]))
            hashes.append(hashes_of(keys, seed, log.source))
            own = pl.repeat(split, len(sound), dtype=SPLIT_TYPE, eager=True)
            splits.append(own if shares is None else splits_of(hashes[-1], shares))
            if limit is not None:
                places.append(place_of(hashes_of(keys, seed, log.source, "limit")))
            table.write(sound.with_columns(splits[-1].cast(pl.String).alias("split")))
    split = pl.concat(splits)
    keep, leaked, repeats = rows_apart(pl.concat(hashes, rechunk=False), split)
    averaged, contradicting = _averaged(folder / "pairs.parquet", repeats)
    log.filter("pairs in a later split too", leaked)
    log.filter("pairs repeated with another score, averaged", contradicting)
    log.filter("pairs that repeat", len(repeats) - contradicting)
    if limit is not None:
        within = within_limit(np.concatenate(places)[keep], limit)
        log.filter("pairs over the limit", (~within).sum())
        keep[keep] = within
    keep_rows(folder / "pairs.parquet", keep, averaged)
    counts = np.bincount(split.to_physical().to_numpy()[keep], minlength=len(SPLITS)).tolist()
    return SourceCounts(task="sts", splits=dict(zip(SPLITS, counts, strict=True)))


def _averaged(path: Path, repeats: pl.DataFrame) -> tuple[dict[int, float], int]:
    """Return the mean gold, by row, of pairs that are repeated with another one, and the number of such repeats.

    Only the gold of pairs that repeat is held.
    """
    rows = np.unique(np.concatenate([repeats["row"].to_numpy(), repeats["first"].to_numpy()]))
    golds, start = np.empty(len(rows)), 0
    for batch in parquet_batches(path, ["gold"]) if len(rows) else ():
        first, last = np.searchsorted(rows, (start, start + len(batch)))
        golds[first:last] = batch.column(0).take(rows[first:last] - start).to_numpy()
        start += len(batch)
    own = repeats.select("first").unique().select(row="first", first="first")
    rated = pl.concat([own, repeats]).sort("first", "row")
    rated = rated.with_columns(gold=golds[np.searchsorted(rows, rated["row"].to_numpy())])
    differing = rated.group_by("first", maintain_order=True).agg(
        pl.col("gold").mean(), differ=pl.col("gold").n_unique() > 1, repeats=pl.len() - 1
    )
    differing = differing.filter("differ")
    return dict(differing.select("first", "gold").iter_rows()), int(differing["repeats"].sum())


def rescale(batch: Batch, name: str, score_range: tuple[float, float]) -> pl.Series:
    """Return the scores of a column moved from ``score_range`` to [0, 1]; a score outside is never clipped."""
    low, high = score_range
    scores = batch.numbers(name)
    for index in (~scores.is_between(low, high)).arg_true():
        reason = f"expected a score within [{low:g}, {high:g}] (score_range), found {scores[index]:g}"
        batch.reject(index, name, reason)
    return pl.Series((scores.to_numpy() - low) / (high - low))  # polars would multiply by the inverse


def _sound(batch: Batch, layout: Pairs, ids: pl.Series, log: RejectLog) -> pl.DataFrame:
    """Return pair_id, text_a, text_b and gold of the rows that are sound and have a label."""
    columns = layout.columns
    text_a, text_b = batch.texts(columns.text_a), batch.texts(columns.text_b)
    if layout.labels is None:
        return batch.sound(
            pair_id=ids, text_a=text_a, text_b=text_b, gold=rescale(batch, columns.score, layout.score_range)
        )
    values = batch.columns[columns.score]
    labels = [str(value).strip() for value in values]
    for index, label in enumerate(labels):
        if label not in layout.labels and label not in layout.unlabelled:
            expected = f"expected a label of {', '.join(layout.labels)}, found {shown(values[index])}"
            batch.reject(index, columns.score, expected)
    gold = pl.Series([layout.labels.get(label) for label in labels], dtype=pl.Float64)
    sound = batch.sound(pair_id=ids, text_a=text_a, text_b=text_b, gold=gold)
    return log.narrow("pairs without a label", sound, sound.drop_nulls("gold"))


def _word_pairs(source: SourceFiles, log: RejectLog) -> Iterator[Part]:
    """gensim's word lists: tab-separated, lines that begin with # are comments."""
    lines = read_lines(source.path, source.shown, log)
    lines = [(number, line) for number, line in lines if line.strip() and not line.startswith("#")]
    rows = {number: line.split("\t") for number, line in lines if line.count("\t") == 2}
    reason = "expected word, word, score; found "
    faults = [(number, "(line)", reason + shown(line)) for number, line in lines if number not in rows]
    names = source.layout.columns
    columns = zip(*rows.values(), strict=True) if rows else ([], [], [])
    values = dict(zip((names.text_a, names.text_b, names.score), map(list, columns), strict=True))
    batch = Batch(source.shown, list(rows), values, faults)
    yield batch, None, list(map(str, rows))
    batch.close(log)


def _lee(source: SourceFiles, log: RejectLog) -> Iterator[Part]:
    """Lee, Pincombe and Welsh's 50 news documents with the mean human similarity of every two, as gensim ships them."""
    names = [f"{source.shown}/{file}" for file in (LEE_DOCUMENTS, LEE_SCORES)]
    check_filled(source.path / LEE_DOCUMENTS, names[0])
    log.files.add(source.path / LEE_DOCUMENTS)
    # Not UTF-8: line 41 holds a pound sign as a single byte.
    documents = content(source.path / LEE_DOCUMENTS, names[0]).decode("latin-1").strip().split("\n")
    lines = read_lines(source.path / LEE_SCORES, names[1], log)
    matrix = [line.split("\t") for _, line in lines if line.strip()]
    if len(matrix) != len(documents) or any(len(row) != len(documents) for row in matrix):
        raise InputError(f"{names[1]}: expected {len(documents)} rows and columns, one per document of {names[0]}")
    cells = [(i, j) for i in range(len(documents)) for j in range(i + 1, len(documents))]
    columns = source.layout.columns
    values = {
        columns.text_a: [documents[i] for i, _ in cells],
        columns.text_b: [documents[j] for _, j in cells],
        columns.score: [matrix[i][j] for i, j in cells],
    }
    shown_names = {columns.score: [f"column {j + 1}" for _, j in cells]}
    batch = Batch(names[1], [i + 1 for i, _ in cells], values, names=shown_names)
    yield batch, None, [f"{i + 1}-{j + 1}" for i, j in cells]
    batch.close(log)


def _pairs(source: SourceFiles, log: RejectLog) -> Iterator[Part]:
    """The files of a registered source; else a file, or with ``splits: null`` those of a folder, by split."""
    own = source.declared is None
    columns = source.layout.columns
    wanted = [columns.text_a, columns.text_b, columns.score]
    for files, name, split, prefix in own_files(source) if own else _registered(source):
        least = source.least(source.layout.dev_rows if split == "dev" else source.layout.rows)
        for batch in read_batches(files, name, log, wanted, least=least, quotes=own):
            yield batch, split, [f"{prefix}{row}" for row in batch.rows]


def _registered(source: SourceFiles) -> Iterator[tuple[list[Path], str, str | None, str]]:
    """The training files; with ``splits: null`` the dev files too, where the registry declares some and they exist."""
    layout, own_splits = source.layout, source.params.splits is None
    if source.path.is_file():
        yield [source.path], source.shown, *(("train", "train-") if own_splits else (None, ""))
        return
    train, dev = source.find(layout.train), source.find(layout.dev) if own_splits else {}
    if not train:
        expected = expected_files(source.declared)
        raise InputError(f"{source.shown}: expected {expected}, found none at {source.path}")
    for split, files in (("train", train), ("dev", dev)):
        if files:
            yield list(files.values()), name_of(list(files)), *((split, f"{split}-") if own_splits else (None, ""))
