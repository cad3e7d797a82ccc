"""Caps and the manifest's entry of a source."""

import pytest

from codiemb_pipeline.assemble.training_set import choose, source_examples
from codiemb_pipeline.errors import InputError

IDS = [f"id{number}" for number in range(100)]


def test_without_a_cap_or_under_it_all_stay_in_order():
    assert choose(IDS, None, 1, "x") == choose(IDS, 100, 1, "x") == list(range(100))


def test_a_cap_keeps_so_many_in_order_and_every_part_of_the_source_has_a_chance():
    chosen = choose(IDS, 30, 1, "x")
    assert len(chosen) == 30
    assert chosen == sorted(set(chosen))
    assert {place // 25 for place in chosen} == {0, 1, 2, 3}


def test_a_larger_cap_adds_to_the_choice_of_a_smaller_one():
    assert set(choose(IDS, 10, 1, "x")) < set(choose(IDS, 30, 1, "x"))


def test_the_choice_is_of_ids_not_of_places():
    backwards = IDS[::-1]
    assert {IDS[place] for place in choose(IDS, 30, 1)} == {backwards[place] for place in choose(backwards, 30, 1)}


def test_seed_and_purpose_change_the_choice():
    choices = {tuple(choose(IDS, 30, seed, purpose)) for seed in (1, 2) for purpose in ("x", "y")}
    assert len(choices) == 4


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
