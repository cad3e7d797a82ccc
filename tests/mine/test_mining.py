"""Mining on embeddings made by hand: neighbours, blocks, sampling, and counts that add up."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import mining_inputs
import numpy as np
import pytest
import torch
from tiny_tables import retrieval_tables
from torch.nn.functional import normalize

from codiemb_pipeline.artifacts.mine import SourceAudit
from codiemb_pipeline.mine.audit import EDGES, AuditCollector, histogram
from codiemb_pipeline.mine.negatives import MinedQuery, mine_source
from codiemb_pipeline.mine.relevance import MiningSource
from codiemb_pipeline.mine.work_files import Texts, laid_out, lay_out, share_of, wanted
from codiemb_pipeline.params import MineParams
from codiemb_pipeline.scoring.search import TopKeys, best_of, scores_and_indices

make_params = partial(mining_inputs.make_params, negatives_per_query=2, rank_to=6)


@pytest.fixture
def make_source(tmp_path: Path) -> Callable[..., MiningSource]:
    """Make a source, laid out in a folder of its own.

    Query i is called qi and has the documents i, i + 1, ... as positives; document 0 has a twin, the last one.
    """
    numbers = itertools.count()

    def make(
        queries: int, documents: int, *, positives: int = 2, first: int = 0, named: dict[int, list[int]] | None = None
    ) -> MiningSource:
        texts = [f"text {number}" for number in range(documents - 1)] + ["Text  0"]
        tables = retrieval_tables(
            [(f"q{i}", f"question {i}", "train") for i in range(first, queries)],
            [(f"d{i}", "", text) for i, text in enumerate(texts)],
            [(f"q{i}", f"d{i + j}", 1) for i in range(first, queries) for j in range(positives)],
            [(f"q{i}", f"d{j}") for i, rows in (named or {}).items() for j in rows],
        )
        folder = tmp_path / str(next(numbers))
        lay_out(tables, "s", make_params(), folder)
        return laid_out(tables, "s", folder)

    return make


def embeddings(rows: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed))


def mine(
    source: MiningSource, params: MineParams, queries=None, documents=None, shares: int = 1
) -> Iterator[MinedQuery]:
    """Mine as the stage does, from vectors of any length; ``shares`` of the corpus are searched apart."""
    queries = normalize(embeddings(len(source.query_ids), 1) if queries is None else queries, dim=-1)
    documents = normalize(embeddings(len(source.document_ids), 2) if documents is None else documents, dim=-1)
    found = []
    for share in range(shares):
        rows = share_of(len(documents), params.block_documents, share, shares)
        keys = TopKeys(queries.split(params.block_queries), wanted(source, params))
        for first in rows[:: params.block_documents]:
            keys.add(documents[first : min(first + params.block_documents, rows.stop)], first)
        found.append(keys.keys)
    merged = [best_of(keys, k) for *keys, k in zip(*found, wanted(source, params), strict=True)]
    neighbours = [tuple(part.numpy() for part in scores_and_indices(keys)) for keys in merged]
    return mine_source(source, queries, documents, neighbours, params)


def negatives(source: MiningSource, params: MineParams, **vectors: torch.Tensor) -> dict[str, list[str]]:
    return {
        source.query_ids[mined.query]: [source.document_ids[row] for row, _ in mined.negatives()]
        for mined in mine(source, params, **vectors)
    }


def audited(source: MiningSource, params: MineParams, root: Path) -> tuple[list[MinedQuery], SourceAudit]:
    """Mine the one source that was made; return all its queries and their audit."""
    collector = AuditCollector(source, Texts(root / "0", "query"), Texts(root / "0", "document"), params)
    found = list(mine(source, params))
    for mined in found:
        collector.add(mined)
    return found, collector.audit()


def test_the_nearest_documents_that_are_no_positives_are_taken_with_their_cosine(make_source):
    source = make_source(1, 5, positives=1)  # d0 is the positive, d4 its twin in text
    documents = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6], [0.0, 1.0], [1.0, 0.0]])
    (mined,) = mine(source, make_params(rank_to=2), torch.tensor([[2.0, 0.0]]), documents * 3)
    assert [row for row, _ in mined.negatives()] == [2, 1]
    assert [score for _, score in mined.negatives()] == pytest.approx([0.8, 0.6])
    assert mined.positive_scores.tolist() == pytest.approx([1.0])


@pytest.mark.parametrize(("block_queries", "block_documents"), [(1, 1), (2, 3), (7, 40), (5, 7)])
def test_block_sizes_change_nothing(make_source, block_queries, block_documents):
    source = make_source(7, 40)
    params = make_params(rank_from=2, rank_to=12, relative_margin=0.9, negatives_per_query=4)
    blocks = make_params(**{**params.model_dump(), "block_queries": block_queries, "block_documents": block_documents})
    assert negatives(source, blocks) == negatives(source, params)
    assert any(negatives(source, params).values())


@pytest.mark.parametrize("shares", [2, 3, 9])
def test_shares_of_the_corpus_searched_apart_give_the_same(make_source, shares):
    source, params = make_source(7, 40), make_params(rank_to=12, negatives_per_query=4, block_documents=6)
    queries, documents = embeddings(7, 1), embeddings(40, 2)
    documents[30] = documents[3]  # a tie across two shares
    whole = list(mine(source, params, queries, documents))
    for one, other in zip(whole, mine(source, params, queries, documents, shares), strict=True):
        assert one.negatives() == other.negatives()
        assert one.neighbours.rows.tolist() == other.neighbours.rows.tolist()


@pytest.mark.parametrize(
    ("documents", "block", "processes"), [(40, 6, 3), (5, 8, 4), (0, 3, 2), (12, 4, 3), (13, 1, 5)]
)
def test_shares_are_whole_blocks_and_hold_every_document_once(documents, block, processes):
    shares = [share_of(documents, block, process, processes) for process in range(processes)]
    assert [row for share in shares for row in share] == list(range(documents))
    assert all(share.start % block == 0 for share in shares if len(share))
    blocks = [-(-len(share) // block) for share in shares]
    assert max(blocks) - min(blocks) <= 1


def test_no_negative_is_ever_a_positive_or_equal_to_one_in_text(make_source):
    source = make_source(30, 40, positives=3)
    found = negatives(source, make_params(negatives_per_query=40, rank_to=40))
    assert {len(rows) for rows in found.values()} == {40 - 3 - 1}  # one of the twins at most
    for query, rows in found.items():
        number = int(query[1:])
        assert not {f"d{number + offset}" for offset in range(3)} & set(rows)
        assert len({"d0", "d39"} & set(rows)) == (0 if number == 0 else 1)


def test_the_sample_of_a_query_stays_when_other_queries_are_added(make_source):
    params = make_params(negatives_per_query=3, rank_to=20)
    few = negatives(make_source(12, 40, first=8), params, queries=embeddings(12, 1)[8:])
    many = negatives(make_source(12, 40), params, queries=embeddings(12, 1))
    assert list(few) == ["q8", "q9", "q10", "q11"]
    assert {query: many[query] for query in few} == few


def test_another_seed_samples_other_negatives_from_the_same_window(make_source):
    source = make_source(10, 40)
    wide = negatives(source, make_params(negatives_per_query=40, rank_to=20))
    first, second = (negatives(source, make_params(seed=seed, negatives_per_query=5, rank_to=20)) for seed in (1, 2))
    assert first != second
    for query, rows in wide.items():
        for chosen in (first[query], second[query]):
            assert len(chosen) == 5
            assert chosen == [row for row in rows if row in chosen]  # by rank


def test_named_negatives_come_first_beyond_window_and_margin(make_source):
    source = make_source(1, 6, positives=1, named={0: [3, 0, 5]})  # d0 is its positive, d5 the positive's twin
    documents = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.8, 0.2], [-1.0, 0.0], [0.7, 0.3], [1.0, 0.0]])
    params = make_params(negatives_per_query=3, rank_to=2)
    (mined,) = mine(source, params, torch.tensor([[1.0, 0.0]]), documents)
    assert [row for row, _ in mined.negatives()] == [3, 1, 2]
    assert mined.negatives()[0][1] == pytest.approx(-1.0)


def test_more_named_negatives_than_asked_leave_no_room_for_mined_ones(make_source):
    source = make_source(1, 9, positives=1, named={0: [2, 3, 4, 5]})
    rows = negatives(source, make_params(negatives_per_query=2))["q0"]
    assert len(rows) == 2
    assert set(rows) < {"d2", "d3", "d4", "d5"}


def test_a_query_without_positives_gets_no_negatives(make_source):
    source = make_source(3, 10, positives=0)
    assert negatives(source, make_params(relative_margin=0.95)) == {"q0": [], "q1": [], "q2": []}


def test_margins_keep_negatives_below_the_best_positive_s_bound(make_source):
    source, params = make_source(20, 60), make_params(negatives_per_query=60, rank_to=60, relative_margin=0.8)
    found = list(mine(source, params))
    assert any(mined.negatives() for mined in found)
    for mined in found:
        best = float(mined.positive_scores.max())
        assert all(score < best - 0.2 * abs(best) for _, score in mined.negatives())


def test_the_counts_of_the_audit_add_up(make_source, tmp_path):
    source = make_source(20, 60, named={3: [3, 30, 31, 32, 59], 4: [40]})
    params = make_params(negatives_per_query=3, rank_from=3, rank_to=15, absolute_margin=0.05, relative_margin=0.9)
    found, audit = audited(source, params, tmp_path)
    counts, neighbours, named, bins = audit.counts, audit.neighbours, audit.named, audit.histogram
    assert counts["queries"] == 20
    assert counts["documents"] == 60
    assert counts["positives"] == sum(bins.positives) == 40
    assert counts["negatives"] == neighbours["kept"] + named["kept"] == sum(bins.kept)
    assert counts["negatives"] == sum(len(mined.negatives()) for mined in found)
    assert sum(neighbours.values()) == sum(len(mined.neighbours.rows) for mined in found)
    assert sum(named.values()) == 6
    assert named["own_positive"] == 1
    assert neighbours["outside_window"] == 20 * 2
    dropped = ("outside_window", "absolute_margin", "relative_margin", "repeated_text")
    assert sum(bins.dropped) == sum(part[reason] for part in (neighbours, named) for reason in dropped)
    assert sum(bins.not_sampled) == neighbours["not_sampled"] + named["not_sampled"]
    ranked = sum(neighbours.values()) - neighbours["own_positive"] - neighbours["equal_text"]
    assert ranked == 20 * 15


def test_queries_that_got_fewer_negatives_than_asked_are_counted(make_source, tmp_path):
    _, audit = audited(make_source(4, 10), make_params(negatives_per_query=3, rank_to=2), tmp_path)
    counts = audit.counts
    assert (counts["queries_with_fewer"], counts["queries_without_negatives"]) == (4, 0)


def test_samples_show_texts_and_scores_in_the_order_of_the_queries(make_source, tmp_path):
    _, audit = audited(make_source(9, 30), make_params(audit_samples=4), tmp_path)
    ids = [sample.query_id for sample in audit.samples]
    assert len(ids) == 4
    assert ids == sorted(ids)
    for sample in audit.samples:
        scores = [document.score for document in sample.positives]
        assert scores == sorted(scores, reverse=True)
        assert len(sample.negatives) == 2
        assert sample.negatives[0].text.lower().startswith("text ")


def test_the_histogram_counts_every_score_those_beyond_its_ends_too():
    counts = histogram(np.array([-0.9, -0.2, 0.011, 0.999, 1.0, 1.0000001], dtype=np.float32))
    assert counts.sum() == 6
    assert counts[0] == 2
    assert counts[-1] == 3
    assert counts[np.searchsorted(EDGES, 0.011) - 1] == 1
