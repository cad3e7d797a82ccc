"""Splits: shares as asked, stable, and never the same text in two."""

from __future__ import annotations

from pathlib import Path

import pytest
from source_files import SHARES, flag_source, ingest, pairs_source, table, write_lines

from codiemb_pipeline.ingest.hashing import hashes_of
from codiemb_pipeline.ingest.hashing import splits_of as splits_by
from codiemb_pipeline.params.ingest import SplitShares
from codiemb_pipeline.texts import pair_key, text_key

PAIRS = [{"left": f"left {n}", "right": f"right {n}", "gold": n % 6} for n in range(300)]


def splits_of(tmp_path: Path, rows: list[dict], name: str, **changes: int | str) -> dict[tuple[str, str], str]:
    path = write_lines(tmp_path / f"{name}.jsonl", rows)
    out = ingest(tmp_path / name, pairs_source(path, splits=SHARES), **changes)
    return {pair_key(row[1], row[2]): row[4] for row in table(out, "pairs")}


def test_shares_are_about_as_asked() -> None:
    """Of 10,000 keys at shares 0.7, 0.1, 0.2 the counts lie within four standard deviations (at most 185)."""
    shares = SplitShares(train=0.7, dev=0.1, test=0.2)
    found = splits_by(hashes_of((f"key {n}" for n in range(10_000)), 1, "s"), shares).cast(str).to_list()
    for split, share in (("train", 0.7), ("dev", 0.1), ("test", 0.2)):
        assert abs(found.count(split) - 10_000 * share) < 185


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_a_share_of_one_takes_everything(split: str) -> None:
    shares = SplitShares(**{name: float(name == split) for name in ("train", "dev", "test")})
    assert set(splits_by(hashes_of(range(500), 1, "s"), shares).cast(str)) == {split}


def test_a_pair_keeps_its_split_when_rows_are_added_and_reordered(tmp_path: Path) -> None:
    before = splits_of(tmp_path, PAIRS[:100], "before")
    after = splits_of(tmp_path, PAIRS[::-1], "after")
    assert len(before) == 100
    assert {key: after[key] for key in before} == before


def test_a_pair_with_its_texts_swapped_or_respelt_has_the_same_split(tmp_path: Path) -> None:
    swapped = [{"left": row["right"].upper(), "right": row["left"] + "!", "gold": 1} for row in PAIRS]
    assert splits_of(tmp_path, swapped, "swapped") == splits_of(tmp_path, PAIRS, "plain")


def test_another_seed_gives_other_splits(tmp_path: Path) -> None:
    assert splits_of(tmp_path, PAIRS, "one", seed=1) != splits_of(tmp_path, PAIRS, "two", seed=2)


def test_no_query_is_in_two_splits(tmp_path: Path) -> None:
    rows = [{"query": f"Query {n % 40}" + "?" * (n % 3), "pos": [f"document {n}"]} for n in range(120)]
    out = ingest(tmp_path / "out", flag_source(write_lines(tmp_path / "f.jsonl", rows), splits=SHARES))
    keys = [text_key(row[1]) for row in table(out, "queries")]
    assert len(keys) == len(set(keys)) == 40
    assert {row[2] for row in table(out, "queries")} == {"train", "dev", "test"}
    assert len(table(out, "qrels")) == 120
