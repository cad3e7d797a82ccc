"""Splits are as large as asked and stable; a limit keeps the texts of the lowest hash, the same in every run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from source_files import SHARES, beir_source, counts, flag_source, ingest, pairs_source, table, write_beir, write_lines

from codiemb_pipeline.ingest.hashing import hashes_of, within_limit
from codiemb_pipeline.ingest.hashing import splits_of as splits_by
from codiemb_pipeline.params.ingest import SplitShares
from codiemb_pipeline.texts import hash_share, pair_key

MANY = [{"left": f"left {n}", "right": f"right {n}", "gold": n % 6} for n in range(300)]


def splits_of(tmp_path: Path, rows: list[dict], name: str, **changes: int | str) -> dict[tuple[str, str], str]:
    path = write_lines(tmp_path / f"{name}.jsonl", rows)
    out = ingest(tmp_path / name, pairs_source(path, splits=SHARES), **changes)
    return {pair_key(row[1], row[2]): row[4] for row in table(out, "pairs")}


def test_shares_are_about_as_asked():
    """Of 10,000 keys at shares 0.7, 0.1, 0.2 the counts lie within four standard deviations (at most 185)."""
    shares = SplitShares(train=0.7, dev=0.1, test=0.2)
    found = splits_by(hashes_of((f"key {n}" for n in range(10_000)), 1, "s"), shares).cast(str).to_list()
    for split, share in (("train", 0.7), ("dev", 0.1), ("test", 0.2)):
        assert abs(found.count(split) - 10_000 * share) < 185


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_a_share_of_one_takes_everything(split):
    shares = SplitShares(**{name: float(name == split) for name in ("train", "dev", "test")})
    assert set(splits_by(hashes_of(range(500), 1, "s"), shares).cast(str)) == {split}


def test_a_pair_keeps_its_split_when_rows_are_added_and_reordered(tmp_path):
    before = splits_of(tmp_path, MANY[:100], "before")
    after = splits_of(tmp_path, MANY[::-1], "after")
    assert len(before) == 100
    assert {key: after[key] for key in before} == before


def test_a_pair_with_its_texts_swapped_or_respelt_has_the_same_split(tmp_path):
    swapped = [{"left": row["right"].upper(), "right": row["left"] + " ", "gold": 1} for row in MANY]
    assert splits_of(tmp_path, swapped, "swapped") == splits_of(tmp_path, MANY, "plain")


def test_another_seed_gives_other_splits(tmp_path):
    assert splits_of(tmp_path, MANY, "one", seed=1) != splits_of(tmp_path, MANY, "two", seed=2)


PAIRS = [{"left": f"left {n}", "right": f"right {n}", "gold": n % 6} for n in range(100)]
ROWS = [{"query": f"query {n}", "pos": [f"p{n}", "shared"], "neg": [f"n{n}"]} for n in range(40)]


def kept_pairs(tmp_path: Path, rows: list, **changes: Any) -> list[str]:
    path = write_lines(tmp_path / "pairs.jsonl", rows)
    return [row[1] for row in table(ingest(tmp_path / "out", pairs_source(path, **changes)), "pairs")]


def test_pairs_of_the_lowest_hash_stay_in_the_order_of_the_file_and_the_rest_is_counted(tmp_path):
    places = {row["left"]: hash_share(7, "mine", "limit", pair_key(row["left"], row["right"])) for row in PAIRS}
    lowest = sorted(places, key=places.get)[:30]
    found = kept_pairs(tmp_path, PAIRS, limit=30)
    assert found == [row["left"] for row in PAIRS if row["left"] in lowest]
    assert counts(tmp_path / "out")["filtered"] == {"pairs over the limit": 70}
    assert counts(tmp_path / "out")["rows"] == 100


def test_a_smaller_limit_keeps_a_part_of_a_larger_one_whatever_the_order_of_rows(tmp_path):
    larger, smaller = (set(kept_pairs(tmp_path, rows, limit=n)) for rows, n in ((PAIRS, 40), (PAIRS[::-1], 10)))
    assert len(smaller) == 10
    assert smaller < larger


def test_a_limit_counts_pairs_that_repeat_once(tmp_path):
    assert len(kept_pairs(tmp_path, PAIRS * 2, limit=60)) == 60


def test_a_limit_above_the_number_of_rows_changes_nothing(tmp_path):
    assert kept_pairs(tmp_path, PAIRS, limit=100) == kept_pairs(tmp_path, PAIRS)
    assert "filtered" in counts(tmp_path / "out")
    assert counts(tmp_path / "out")["filtered"] == {}


def test_documents_beside_their_queries_go_with_them(tmp_path):
    out = ingest(tmp_path / "out", flag_source(write_lines(tmp_path / "f.jsonl", ROWS), limit=5))
    numbers = {row[1].split()[1] for row in table(out, "queries")}
    assert len(numbers) == 5
    texts = {doc_id: text for doc_id, _, text in table(out, "corpus")}
    assert set(texts.values()) == {"shared"} | {f"{kind}{n}" for n in numbers for kind in "pn"}
    assert {texts[row[1]] for row in table(out, "qrels")} == {"shared"} | {f"p{n}" for n in numbers}
    assert {texts[row[1]] for row in table(out, "negatives")} == {f"n{n}" for n in numbers}
    assert counts(out)["documents"] == len(texts) == 11
    filtered = {"queries over the limit": 35, "documents of no query within the limit": 70}
    assert counts(out)["filtered"] == filtered


def test_a_corpus_of_its_own_stays_whole(tmp_path):
    queries = [{"_id": f"q{n}", "text": f"query {n}"} for n in range(9)]
    qrels = {"train": [(f"q{n}", "d1", 1) for n in range(9)]}
    folder = write_beir(tmp_path / "beir", queries=queries, qrels=qrels)
    out = ingest(tmp_path / "out", beir_source(folder, limit=4))
    assert len(table(out, "queries")) == len(table(out, "qrels")) == 4
    assert len(table(out, "corpus")) == counts(out)["documents"] == 3


@pytest.mark.parametrize(("limit", "kept"), [(1, 0), (2, 2), (3, 3), (4, 3), (5, 5), (9, 5)])
def test_rows_of_one_text_stay_or_go_together(limit, kept):
    """Places 0.1 twice, 0.2 once, 0.3 twice."""
    mask = within_limit(np.array([0.3, 0.1, 0.2, 0.1, 0.3]), limit)
    assert mask.sum() == kept
    assert mask[1] == mask[3]
    assert mask[0] == mask[4]
