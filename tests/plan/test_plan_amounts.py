"""Examples, steps and tokens of a run, by hand and against what training itself plans."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_run import make_model_input, tiny_params, write_sources

from codiemb_pipeline.artifacts.assemble import TokenStore, TrainingArrays
from codiemb_pipeline.params import Params
from codiemb_pipeline.plan.amounts import Count, assembled_examples, expected_examples, run_amounts
from codiemb_pipeline.train.loop import plan_of_epoch, total_steps

TWO = {"q": Count(task="ir", examples=100, known="declared"), "p": Count(task="sts", examples=32, known="declared")}


def settings(values: dict, **changes: object):
    return Params.parse({**values, "train": {**values["train"], **changes}}, "").train


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_encoder_folder):
    root = tmp_path_factory.mktemp("plan")
    values = tiny_params(write_sources(root / "raw"), tiny_encoder_folder)
    return values, make_model_input(values, root)


def test_assembled_examples_give_the_steps_that_training_plans(made):
    values, model_input = made
    train = settings(values, max_steps=None)
    found = run_amounts(assembled_examples(model_input, ["tags", "words"]), train, 2)
    assert found.exact
    plan = plan_of_epoch(train, TrainingArrays(model_input / "train").sources, 0, 2)
    assert (found.steps_per_epoch, found.steps) == (len(plan), total_steps(train, len(plan)))
    assert sum(found.drawn.values()) == sum(
        len(plan.examples(step, 0, rank)) for step in range(len(plan)) for rank in range(2)
    )


def test_tokens_of_pairs_are_those_of_both_texts(made):
    _, model_input = made
    examples = assembled_examples(model_input, ["tags", "words"])
    arrays, store = TrainingArrays(model_input / "train"), TokenStore(model_input / "tokens")
    words = next(source for source in arrays.sources if source.name == "words")
    count = words.stop - words.start
    texts = [text for i in range(words.start, words.stop) for text in (arrays.query[i], arrays.positives(i)[0])]
    both = examples.lengths["words"].query + examples.lengths["words"].positive
    assert both * count == pytest.approx(sum(len(store[int(text)]) for text in texts))


def test_declared_examples_are_counted_by_hand(made):
    """100 queries in batches of 4 on 2 processes: 12 steps; 32 pairs: 4 steps; two to one, so 8 of retrieval and 4.

    8 steps * 8 queries * (1 + 2 positives + 1 negative) * 10 tokens + 4 * 8 pairs * 2 * 10 = 2,560 + 640 tokens.
    """
    values, _ = made
    examples = expected_examples(TWO, 10)
    found = run_amounts(examples, settings(values, max_steps=None, epochs=3), 2)
    assert (found.steps_per_epoch, found.steps) == (12, 36)
    assert found.drawn == {"q": 64, "p": 32}
    assert found.tokens == 3 * 3200
    assert found.tokens_at_once == int(4 * 4 * 10 / 0.9)
    assert not found.exact


def test_grad_cache_bounds_what_is_encoded_at_once(made):
    values, _ = made
    examples = expected_examples(TWO, 10)
    chunk = {"tokens": 50, "max_padding": 0.1}
    assert run_amounts(examples, settings(values, grad_cache=True, chunk=chunk), 2).tokens_at_once == 50


def test_examples_of_other_sources_than_those_wanted_are_not_taken(made, tmp_path):
    _, model_input = made
    assert assembled_examples(model_input, ["tags"]) is None
    assert assembled_examples(tmp_path, ["tags"]) is None
