"""A limit takes the texts of the lowest hash: at most as many as asked, the same in every run, nested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from registered_files import registered_source, write_cmteb, write_t2ranking
from source_files import beir_source, counts, flag_source, ingest, pairs_source, table, write_beir, write_lines

from codiemb_pipeline.ingest.hashing import within_limit
from codiemb_pipeline.texts import hash_share, pair_key

PAIRS = [{"left": f"left {n}", "right": f"right {n}", "gold": n % 6} for n in range(100)]
ROWS = [{"query": f"query {n}", "pos": [f"p{n}", "shared"], "neg": [f"n{n}"]} for n in range(40)]


def kept_pairs(tmp_path: Path, rows: list, **changes: Any) -> list[str]:
    path = write_lines(tmp_path / "pairs.jsonl", rows)
    return [row[1] for row in table(ingest(tmp_path / "out", pairs_source(path, **changes)), "pairs")]


def test_pairs_of_the_lowest_hash_stay_in_the_order_of_the_file_and_the_rest_is_counted(tmp_path: Path) -> None:
    places = {row["left"]: hash_share(7, "mine", "limit", pair_key(row["left"], row["right"])) for row in PAIRS}
    lowest = sorted(places, key=places.get)[:30]
    found = kept_pairs(tmp_path, PAIRS, limit=30)
    assert found == [row["left"] for row in PAIRS if row["left"] in lowest]
    assert counts(tmp_path / "out")["filtered"] == {"pairs over the limit": 70}
    assert counts(tmp_path / "out")["rows"] == 100


def test_a_smaller_limit_keeps_a_part_of_a_larger_one_whatever_the_order_of_rows(tmp_path: Path) -> None:
    larger, smaller = (set(kept_pairs(tmp_path, rows, limit=n)) for rows, n in ((PAIRS, 40), (PAIRS[::-1], 10)))
    assert len(smaller) == 10
    assert smaller < larger


def test_a_limit_counts_pairs_that_repeat_once(tmp_path: Path) -> None:
    assert len(kept_pairs(tmp_path, PAIRS * 2, limit=60)) == 60


def test_a_limit_above_the_number_of_rows_changes_nothing(tmp_path: Path) -> None:
    assert kept_pairs(tmp_path, PAIRS, limit=100) == kept_pairs(tmp_path, PAIRS)
    assert "filtered" in counts(tmp_path / "out")
    assert counts(tmp_path / "out")["filtered"] == {}


def test_documents_beside_their_queries_go_with_them(tmp_path: Path) -> None:
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


def test_a_corpus_of_its_own_stays_whole(tmp_path: Path) -> None:
    queries = [{"_id": f"q{n}", "text": f"query {n}"} for n in range(9)]
    qrels = {"train": [(f"q{n}", "d1", 1) for n in range(9)]}
    folder = write_beir(tmp_path / "beir", queries=queries, qrels=qrels)
    out = ingest(tmp_path / "out", beir_source(folder, limit=4))
    assert len(table(out, "queries")) == len(table(out, "qrels")) == 4
    assert len(table(out, "corpus")) == counts(out)["documents"] == 3


def test_registered_sources_take_a_limit_too_of_queries_with_a_relevant_document(tmp_path: Path) -> None:
    out = ingest(tmp_path / "t2", registered_source("t2ranking", write_t2ranking(tmp_path / "raw"), limit=1))
    assert len(table(out, "queries")) == 1
    assert counts(out)["filtered"]["queries over the limit"] == 1
    folder = write_cmteb(tmp_path / "lcqmc", [(f"a{n}", f"b{n}", 1) for n in range(20)])
    assert len(table(ingest(tmp_path / "pairs", registered_source("lcqmc", folder, limit=6)), "pairs")) == 6


@pytest.mark.parametrize(("limit", "kept"), [(1, 0), (2, 2), (3, 3), (4, 3), (5, 5), (9, 5)])
def test_rows_of_one_text_stay_or_go_together(limit: int, kept: int) -> None:
    """Places 0.1 twice, 0.2 once, 0.3 twice."""
    mask = within_limit(np.array([0.3, 0.1, 0.2, 0.1, 0.3]), limit)
    assert mask.sum() == kept
    assert mask[1] == mask[3]
    assert mask[0] == mask[4]
