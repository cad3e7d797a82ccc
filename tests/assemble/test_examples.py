"""From rows to examples: what is merged, left out and counted."""

import pandas as pd
import pytest

from codiemb_pipeline.artifacts.ingest import PairTables, RetrievalTables
from codiemb_pipeline.assemble.examples import IR_REASONS, PairExamples, RetrievalExamples
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import write_jsonl

CORPUS = [("d0", "", "a dog"), ("d1", "A", "Dog!"), ("d2", "", "a cat"), ("d3", "", "a fish"), ("d4", "", "a bird")]


@pytest.fixture
def read(tmp_path):
    def read(queries, qrels, negatives) -> RetrievalExamples:
        tables = RetrievalTables(
            pd.DataFrame(queries, columns=["query_id", "text", "split"]),
            pd.DataFrame(CORPUS, columns=["doc_id", "title", "text"]),
            pd.DataFrame(qrels, columns=["query_id", "doc_id", "relevance"]),
            pd.DataFrame([], columns=["query_id", "doc_id"]),
        )
        rows = ({"query_id": query, "negatives": ids, "scores": []} for query, ids in negatives.items())
        write_jsonl(tmp_path / "s.jsonl", rows)
        return RetrievalExamples("s", tables, tmp_path / "s.jsonl")

    return read


def build(examples: RetrievalExamples, number: int = 0, **limits):
    return examples.build(number, **{"max_positives": 9, "max_negatives": 9, **limits})


def counted(examples: RetrievalExamples) -> dict[str, int]:
    return {reason: count for reason, count in examples.dropped.items() if count}


def test_an_example_bears_texts_titles_included_and_leads_back_to_its_query(read):
    examples = read([("q", "Pets", "train")], [("q", "d1", 1)], {"q": ["d3", "d4"]})
    example = build(examples)
    assert example.task == "ir"
    assert (example.query, example.id, example.source) == ("Pets", "q", "s")
    assert example.positives == ("A Dog!",)
    assert example.negatives == ("a fish", "a bird")
    assert counted(examples) == {}
    assert set(examples.dropped) == set(IR_REASONS)


def test_the_most_relevant_positives_are_kept_first_and_equals_in_order_of_the_qrels(read):
    qrels = [("q", "d4", 1), ("q", "d2", 3), ("q", "d3", 1), ("q", "d0", 3)]
    examples = read([("q", "pets", "train")], qrels, {"q": []})
    assert build(examples, max_positives=3).positives == ("a cat", "a dog", "a bird")
    assert counted(examples) == {"positives_over_limit": 1}


def test_positives_of_the_same_text_are_shown_once(read):
    examples = read([("q", "pets", "train")], [("q", "d0", 1), ("q", "d1", 2)], {"q": []})
    assert build(examples).positives == ("A Dog!",)
    assert counted(examples) == {"positives_repeated": 1}


def test_a_negative_with_the_text_of_any_positive_or_the_query_is_leaked(read):
    qrels = [("q", "d2", 2), ("q", "d0", 1)]
    examples = read([("q", "A fish", "train")], qrels, {"q": ["d1", "d3", "d4"]})
    example = build(examples, max_positives=1)  # d0 is over the limit, its twin d1 is no negative all the same
    assert example.positives == ("a cat",)
    assert example.negatives == ("a bird",)
    assert counted(examples) == {"positives_over_limit": 1, "negatives_leaked": 2}


def test_negatives_of_the_same_text_count_once_and_the_first_ones_stay(read):
    examples = read([("q", "pets", "train")], [("q", "d2", 1)], {"q": ["d1", "d0", "d3", "d4"]})
    assert build(examples, max_negatives=2).negatives == ("A Dog!", "a fish")
    assert counted(examples) == {"negatives_repeated": 1, "negatives_over_limit": 1}


def test_queries_of_the_same_text_become_one_with_all_their_positives_and_negatives(read):
    queries = [("q0", "Pets", "train"), ("q1", "cars", "train"), ("q2", "pets!", "train")]
    qrels = [("q2", "d2", 1), ("q1", "d3", 1), ("q0", "d0", 1)]
    examples = read(queries, qrels, {"q0": ["d3"], "q1": [], "q2": ["d4", "d3"]})
    assert examples.ids == ["q0", "q1"]
    merged = build(examples)
    assert merged.query == "Pets"
    assert merged.positives == ("a cat", "a dog")
    assert merged.negatives == ("a fish", "a bird")
    assert counted(examples) == {"queries_merged": 1, "negatives_repeated": 1}


def test_queries_without_positives_and_of_other_splits_are_no_examples(read):
    queries = [("q0", "pets", "train"), ("q1", "cars", "dev"), ("q2", "boats", "train")]
    examples = read(queries, [("q1", "d0", 1), ("q2", "d0", 1)], {"q0": ["d3"], "q2": []})
    assert examples.ids == ["q2"]
    assert counted(examples) == {"queries_without_positives": 1}


def test_missing_hard_negatives_say_that_mining_has_to_run(tmp_path, read):
    examples = read([("q", "pets", "train")], [("q", "d0", 1)], {"q": []})
    with pytest.raises(InputError, match=r"source 'other': expected its hard negatives at .*nowhere.jsonl.*run mine"):
        RetrievalExamples("other", examples._tables, tmp_path / "nowhere.jsonl")


def test_a_query_without_a_row_and_an_unknown_document_are_errors_that_name_them(read):
    with pytest.raises(InputError, match=r"s\.jsonl: expected a row for query 'q', found none"):
        read([("q", "pets", "train")], [("q", "d0", 1)], {"other": []})
    with pytest.raises(InputError, match=r"s\.jsonl: doc_id: .*'d99'"):
        read([("q", "pets", "train")], [("q", "d0", 1)], {"q": ["d99"]})
    with pytest.raises(InputError, match=r"source 's': qrels: doc_id: .*'d99'"):
        read([("q", "pets", "train")], [("q", "d99", 1)], {"q": []})


def test_a_pair_becomes_an_example_with_its_gold():
    pairs = pd.DataFrame([("p", "cat", "dog", 0.5, "train"), ("x", "a", "b", 1.0, "dev")], columns=COLUMNS)
    examples = PairExamples("words", PairTables(pairs))
    assert examples.ids == ["p"]
    example = examples.build(0)
    assert (example.task, example.query, example.positives, example.scores) == ("sts", "cat", ("dog",), (0.5,))
    assert (example.negatives, example.id, example.source) == ((), "p", "words")


def test_the_same_pair_in_either_order_counts_once_and_the_first_gold_stays():
    rows = [("p0", "cat", "dog"), ("p1", "Dog", "cat."), ("p2", "dog", "cat"), ("p3", "cat", "fish")]
    gold = [0.5, 0.5, 0.75, 0.5]
    pairs = pd.DataFrame([(*row, value, "train") for row, value in zip(rows, gold, strict=True)], columns=COLUMNS)
    examples = PairExamples("words", PairTables(pairs))
    assert examples.ids == ["p0", "p3"]
    assert examples.build(0).scores == (0.5,)
    assert examples.dropped == {"pairs_repeated": 1, "pairs_repeated_with_other_gold": 1, "pairs_over_cap": 0}


COLUMNS = ["pair_id", "text_a", "text_b", "gold", "split"]
