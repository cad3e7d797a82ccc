"""From rows to examples: caps, order, what is dropped and counted, and what is refused."""

from collections.abc import Callable

import pandas as pd
import pytest
from tiny_tables import retrieval_tables

from codiemb_pipeline.assemble.examples import RetrievalExamples, choose, source_examples
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import write_jsonl
from codiemb_pipeline.schema import TrainingExample

CORPUS = [("d0", "", "a dog"), ("d1", "A", "Dog"), ("d2", "", "a cat"), ("d3", "", "a fish"), ("d4", "", "a bird")]
IDS = [f"id{number}" for number in range(100)]


def test_without_a_cap_or_under_it_all_stay_in_order():
    assert choose(IDS, None, 1, "x") == choose(IDS, 100, 1, "x") == list(range(100))


def test_a_cap_keeps_so_many_in_order_and_every_part_of_the_source_has_a_chance():
    chosen = choose(IDS, 30, 1, "x")
    assert len(chosen) == 30
    assert chosen == sorted(set(chosen))
    assert {index // 25 for index in chosen} == {0, 1, 2, 3}


def test_a_larger_cap_adds_to_the_choice_of_a_smaller_one():
    assert set(choose(IDS, 10, 1, "x")) < set(choose(IDS, 30, 1, "x"))


def test_the_choice_is_of_ids_not_of_indices():
    backwards = IDS[::-1]
    assert {IDS[index] for index in choose(IDS, 30, 1)} == {backwards[index] for index in choose(backwards, 30, 1)}


def test_seed_and_purpose_change_the_choice():
    choices = {tuple(choose(IDS, 30, seed, purpose)) for seed in (1, 2) for purpose in ("x", "y")}
    assert len(choices) == 4


@pytest.fixture
def example_of(tmp_path, make_params) -> Callable[..., tuple[TrainingExample, dict[str, int]]]:
    """Return the example of query ``q`` with some documents as positives and negatives, and the counts above 0."""

    def build(
        query: str, positives: dict[str, int], negatives: list[str], name: str = "q", **limits: int
    ) -> tuple[TrainingExample, dict[str, int]]:
        qrels = [("q", *qrel) for qrel in positives.items()]
        tables = retrieval_tables([("q", query, "train")], CORPUS, qrels)
        write_jsonl(tmp_path / "s.jsonl", [{"query_id": name, "negatives": negatives, "scores": []}])
        examples = RetrievalExamples("s", tables, tmp_path / "s.jsonl", make_params(**limits))
        example = examples.build("q", query)
        return example, {reason: count for reason, count in examples.dropped.items() if count}

    return build


def test_an_example_holds_texts_titles_included_and_leads_back_to_its_query(example_of):
    example, dropped = example_of("Pets", {"d1": 1}, ["d3", "d4"])
    assert (example.task, example.query, example.id, example.source) == ("ir", "Pets", "q", "s")
    assert (example.positives, example.negatives) == (("A Dog",), ("a fish", "a bird"))
    assert dropped == {}


def test_the_most_relevant_positives_are_kept_first_and_equals_in_order_of_the_qrels(example_of):
    example, dropped = example_of("pets", {"d4": 1, "d2": 3, "d3": 1, "d0": 3}, [], max_positives=3)
    assert example.positives == ("a cat", "a dog", "a bird")
    assert dropped == {"positives_over_limit": 1}


def test_positives_of_the_same_text_are_shown_once(example_of):
    example, dropped = example_of("pets", {"d0": 1, "d1": 2}, [])
    assert example.positives == ("A Dog",)
    assert dropped == {"positives_repeated": 1}


def test_the_first_negatives_are_kept(example_of):
    example, dropped = example_of("pets", {"d2": 1}, ["d3", "d0", "d4"], max_negatives=2)
    assert example.negatives == ("a fish", "a dog")
    assert dropped == {"negatives_over_limit": 1}


@pytest.mark.parametrize(
    ("query", "negatives", "named"),
    [
        ("pets", ["d4", "d1"], "d1"),  # the text of positive d0, which is over the limit
        ("A fish", ["d3"], "d3"),  # the text of the query
        ("pets", ["d3", "d3"], "d3"),
    ],
)
def test_negatives_that_mining_would_not_have_kept_are_refused(example_of, query, negatives, named):
    with pytest.raises(InputError, match=rf"s\.jsonl: query 'q': negatives: .*'{named}'"):
        example_of(query, {"d2": 2, "d0": 1}, negatives, max_positives=1)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ({"name": "other"}, r"s\.jsonl: expected a row for query 'q', found none"),
        ({"negatives": ["d99"]}, r"s\.jsonl: doc_id: .*'d99'"),
        ({"positives": {"d99": 1}}, r"source 's': qrels: doc_id: .*'d99'"),
        ({"positives": {}}, r"example 'q' of source 's': positives"),
    ],
)
def test_a_query_that_does_not_fit_its_files_is_an_error_that_names_it(example_of, documents, message):
    with pytest.raises(InputError, match=message):
        example_of("pets", **{"positives": {"d0": 1}, "negatives": [], **documents})


def test_missing_hard_negatives_are_an_error_that_names_the_file(make_params, sources, tmp_path):
    with pytest.raises(InputError, match=r"source 'animals': expected its hard negatives at .*nowhere/animals.jsonl"):
        source_examples("animals", make_params(), sources, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("animals", {"text": "Dog "}, "source 'animals': .*'q1' to repeat 'q0'"),
        ("words", {"text_a": "The A", "text_b": " red"}, "source 'words': .*'p1' to repeat 'p0'"),
    ],
)
def test_a_text_that_ingest_would_have_dropped_is_refused(make_params, sources, hard_negatives, name, change, message):
    table = sources / name / ("queries.parquet" if name == "animals" else "pairs.parquet")
    rows = pd.read_parquet(table)
    rows.loc[1, list(change)] = list(change.values())
    rows.to_parquet(table)
    with pytest.raises(InputError, match=message):
        source_examples(name, make_params(), sources, hard_negatives)


def test_a_pair_becomes_an_example_with_its_gold(make_params, sources, hard_negatives):
    example = source_examples("words", make_params(), sources, hard_negatives)[0][2]
    assert (example.task, example.query, example.positives, example.scores) == ("sts", "red", ("the and",), (0.5,))
    assert (example.negatives, example.id, example.source) == ((), "p2", "words")


def test_counts_of_a_retrieval_source_add_up(make_params, sources, hard_negatives):
    params = make_params(caps={"animals": 2}, max_positives=1, max_negatives=2)
    examples, entry = source_examples("animals", params, sources, hard_negatives)
    assert entry["task"] == "ir"
    assert entry["examples"] == len(examples) == 2
    assert entry["positives"] == 2
    assert entry["negatives"] == sum(len(example.negatives) for example in examples)
    assert entry["examples_without_negatives"] == sum(not example.negatives for example in examples)
    assert entry["dropped"]["queries_over_cap"] == 1


def test_counts_of_a_similarity_source_add_up(make_params, sources, hard_negatives):
    examples, entry = source_examples("words", make_params(caps={"words": 3}), sources, hard_negatives)
    assert (entry["task"], entry["examples"], entry["positives"], entry["negatives"]) == ("sts", 3, 3, 0)
    assert entry["dropped"]["pairs_over_cap"] == 1
    assert [example.id for example in examples] == sorted(example.id for example in examples)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"caps": {"animal": 5}}, r"caps: 'animal' is not among train_sources \(did you mean 'animals'\?\)"),
        ({"train_sources": ["words", "words"]}, "train_sources: expected each source once, found words more than once"),
        ({"caps": {"words": 0}}, "caps.words: "),
    ],
)
def test_parameters_that_make_no_sense_are_refused_by_name(make_params, changes, message):
    with pytest.raises(InputError, match=message):
        make_params(**changes)
