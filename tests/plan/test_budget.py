"""Steps, tokens, memory and disk of a run: by hand, and against what training plans, takes and keeps."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import make_model_input, tiny_params, train_in, write_sources
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel

from codiemb_pipeline.artifacts.assemble import TokenStore, TrainingArrays
from codiemb_pipeline.params import Params, TrainParams
from codiemb_pipeline.plan.budget import (
    ExampleCount,
    ModelSize,
    assembled_counts,
    bytes_per_token,
    count_examples,
    disk_bytes,
    run_budget,
    training_flops,
    training_memory,
)
from codiemb_pipeline.train.loop import plan_of_epoch, total_steps

DECLARED = [
    ExampleCount(name="q", task="ir", examples=100, evidence="declared"),
    ExampleCount(name="p", task="sts", examples=32, evidence="declared"),
]
SIZE = ModelSize(parameters=1000, layers=2, width=8, feed_forward=32, gated=False)


def train_params(**changes: Any) -> TrainParams:
    return TrainParams.parse({**tiny_params(Path(), Path())["train"], "max_steps": None, **changes}, "train")


@pytest.fixture(scope="module")
def model_input(tmp_path_factory, tiny_encoder_folder):
    root = tmp_path_factory.mktemp("plan")
    return make_model_input(tiny_params(write_sources(root / "raw"), tiny_encoder_folder), root)


def test_assembled_examples_give_the_steps_that_training_plans(model_input):
    train = train_params()
    found = run_budget(assembled_counts(model_input, ["tags", "words"]), 24, train, 2)
    plan = plan_of_epoch(train, TrainingArrays(model_input / "train").sources, 0, 2)
    assert (found.steps_per_epoch, found.steps) == (len(plan), total_steps(train, len(plan)))
    drawn = sum(len(plan.examples(step, 0, rank)) for step in range(len(plan)) for rank in range(2))
    assert sum(found.drawn.values()) == drawn


def test_tokens_of_pairs_are_those_of_both_texts(model_input):
    _, words = assembled_counts(model_input, ["tags", "words"])
    arrays, store = TrainingArrays(model_input / "train"), TokenStore(model_input / "tokens")
    source = next(source for source in arrays.sources if source.name == "words")
    examples = range(source.start, source.stop)
    texts = [text for i in examples for text in (arrays.query[i], arrays.positives(i)[0])]
    query, positive, _ = words.lengths
    assert (query + positive) * words.examples == pytest.approx(sum(len(store[int(text)]) for text in texts))


def test_counts_of_other_sources_than_those_wanted_are_not_taken(model_input, tmp_path):
    assert assembled_counts(model_input, ["tags"]) is None
    assert assembled_counts(tmp_path, ["tags"]) is None


def test_the_budget_of_declared_examples_by_hand():
    """100 queries in batches of 4 on 2 processes: 12 steps; 32 pairs: 4 steps; two to one, so 8 of retrieval and 4.

    8 steps * 8 queries * (1 + 2 positives + 1 negative) * 10 tokens + 4 * 8 pairs * 2 * 10 = 2,560 + 640 tokens.
    """
    found = run_budget(DECLARED, 10, train_params(epochs=3), 2)
    assert (found.steps_per_epoch, found.steps) == (12, 36)
    assert found.drawn == {"q": 64, "p": 32}
    assert found.tokens == 3 * 3200
    assert found.tokens_at_once == int(4 * 4 * 10 / 0.9)


def test_grad_cache_bounds_the_tokens_encoded_at_once():
    train = train_params(grad_cache=True, chunk={"tokens": 50, "max_padding": 0.1})
    assert run_budget(DECLARED, 10, train, 2).tokens_at_once == 50


@pytest.mark.dist
@pytest.mark.slow
def test_a_training_takes_the_steps_that_were_planned(tmp_path, tiny_encoder_folder):
    values = tiny_params(write_sources(tmp_path / "raw"), tiny_encoder_folder)
    values["train"] |= {"epochs": 2, "max_steps": None, "checkpoint_every": None, "log_every": 1}
    params = Params.parse(values)
    beforehand, _ = count_examples(params, tmp_path)
    processes = params.train.launch.nproc_per_node
    (tmp_path / "made").mkdir()
    model_input = make_model_input(values, tmp_path / "made")
    train_in(tmp_path, params, model_input)

    logged = {}
    for task in ("ir", "sts"):
        with (tmp_path / "curves" / f"{task}.csv").open() as file:
            logged[task] = [int(row["step"]) for row in csv.DictReader(file)]
    for counts in (beforehand, assembled_counts(model_input, ["tags", "words"])):
        planned = run_budget(counts, 24, params.train, processes)
        assert planned.steps == len(logged["ir"]) + len(logged["sts"]) == max(logged["ir"] + logged["sts"])
        for name, task in (("tags", "ir"), ("words", "sts")):
            assert 2 * planned.drawn[name] == 4 * processes * len(logged[task])
    last = sorted(path.name for path in (tmp_path / "checkpoints").glob("step-*"))[-1]
    assert last == f"step-{planned.steps:06}"


@pytest.mark.parametrize(
    ("sharding", "processes", "expected"),
    [("ddp", 1, 16_000), ("ddp", 4, 20_000), ("fsdp", 8, 14_000), ("fsdp", 1, 16_000)],
)
def test_the_bytes_of_weights_gradients_and_moments_by_hand(sharding, processes, expected):
    model, _ = training_memory(SIZE, train_params(sharding=sharding), processes=processes, tokens=0)
    assert model == expected


def test_activations_by_hand():
    """Half precision: 18 * 8 + 4 * 32 = 272 bytes a token and layer; checkpointed 2 * 8 = 16, and one layer whole."""

    def activations(**changes: Any) -> int:
        return training_memory(SIZE, train_params(**changes), processes=1, tokens=10)[1]

    assert activations(precision="bf16") == 10 * 2 * 272
    assert activations() == 2 * 10 * 2 * 272
    assert activations(precision="bf16", gradient_checkpointing=True) == 10 * 2 * 16 + 10 * 272


def test_disk_and_work_by_hand():
    assert disk_bytes(SIZE, checkpoints=3, merged=2) == 2 * 5 * 4000 + 8000
    assert training_flops(SIZE, 10, recomputed=False) == 60_000
    assert training_flops(SIZE, 10, recomputed=True) == 80_000


def kept_bytes(model: torch.nn.Module, rows: int, tokens: int) -> int:
    """Return the bytes a forward pass keeps for back-propagation, weights not counted, each storage once."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}
    held = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)  # or its address would be given to another
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(input_ids=torch.randint(0, 50, (rows, tokens))).last_hidden_state
    del output
    return sum(kept.values())


@pytest.mark.parametrize("gated", [False, True], ids=["BERT", "Llama"])
def test_a_real_layer_keeps_about_the_bytes_of_the_formula(gated):
    """Two depths, so that the embeddings cancel out; no dropout of attention, for which the CPU has no fused kernel."""
    common = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 192, "vocab_size": 50}
    common |= {} if gated else {"attention_probs_dropout_prob": 0.0}
    config, model = (LlamaConfig, LlamaModel) if gated else (BertConfig, BertModel)
    rows, tokens = 4, 32
    measured = []
    for layers in (2, 4):
        torch.manual_seed(0)
        measured.append(kept_bytes(model(config(**common, num_hidden_layers=layers)).train(), rows, tokens))
    per_token = (measured[1] - measured[0]) / 2 / (rows * tokens)
    size = ModelSize(parameters=0, layers=1, width=64, feed_forward=192, gated=gated)
    assert bytes_per_token(size, half=False) == pytest.approx(per_token, rel=0.3)
