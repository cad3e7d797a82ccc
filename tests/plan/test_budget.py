"""Examples, steps, tokens, memory and disk of a run: by hand, and against what the stages count, take and keep."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from tiny_architectures import MAKERS
from tiny_run import make_model_input, tiny_params, train_in, train_in_this_process, write_sources
from transformers import AutoConfig, AutoModel

from codiemb_pipeline.artifacts.assemble import TokenStore, TrainingArrays
from codiemb_pipeline.assemble.examples import choose
from codiemb_pipeline.encoder.backbone import load_backbone
from codiemb_pipeline.ingest.registry import TRAINING_SOURCES
from codiemb_pipeline.ingest.run import ingest_sources
from codiemb_pipeline.params import Params, TrainParams
from codiemb_pipeline.plan import budget
from codiemb_pipeline.plan.budget import (
    COUNTS,
    MODEL_INPUT,
    ExampleCount,
    ModelSize,
    assembled_counts,
    bytes_per_token,
    count_examples,
    disk_bytes,
    model_size,
    run_budget,
    training_flops,
    training_memory,
)
from codiemb_pipeline.profiles import read_profile
from codiemb_pipeline.train.loop import plan_of_epoch, total_steps

ROOT = Path(__file__).parents[2]
PAPER = ("bge-large-zh", "e5-large-instruct", "minicpm", "youtu")
BY_HAND = {  # declared, times the share of train in all four profiles of the paper
    "t2ranking": 198372,  # 200,376 * 0.99 = 198,372.24
    "dureader": 85531,  # 86,395 * 0.99 = 85,531.05
    "mmarco_zh": 497883,  # 502,912 * 0.99 = 497,882.88
    "cmedqa2": 99000,
    "bq": 100000,
    "lcqmc": 238766,
    "pawsx": 49401,
    "stsb": 5231,
    "afqmc": 32617,  # 34,334 * 0.95 = 32,617.3
    "cmnli": 391783,
    "ocnli": 50437,
}
RETRIEVAL = ("t2ranking", "dureader", "mmarco_zh", "cmedqa2")


@pytest.fixture
def tiny(tmp_path, tiny_encoder_folder) -> dict:
    return tiny_params(write_sources(tmp_path / "raw"), tiny_encoder_folder)


def numbers_of(values: dict, root: Path) -> dict[str, tuple[int, str]]:
    """Return the number and the first words of its evidence, by source."""
    counts, *_ = count_examples(Params.parse(values), root, values)
    return {count.name: (count.examples, count.evidence.partition(",")[0]) for count in counts}


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_profiles_have_all_their_examples_before_anything_was_read(name, tmp_path):
    """Dynamic sampling, nothing weighted: an epoch has as many steps as each source fills whole global batches."""
    params = Params.parse(read_profile(name, ROOT))
    counts, unknown, _ = count_examples(params, tmp_path)
    assert {count.name: count.examples for count in counts} == BY_HAND
    assert not unknown
    about = {count.name for count in counts if count.approximate}
    assert about == {*RETRIEVAL, "afqmc"}, "shares, and numbers of copies"
    assert all(count.evidence.startswith("declared: ") and count.lengths is None for count in counts)
    for processes in (1, 8):
        batch = {task: size * processes for task, size in params.train.batch_size.model_dump().items()}
        steps = sum(number // batch["ir" if key in RETRIEVAL else "sts"] for key, number in BY_HAND.items())
        found = run_budget(counts, 512, params.train, processes)
        assert (found.steps_per_epoch, found.steps) == (steps, steps * params.train.epochs)


def afqmc(**source: Any) -> dict[str, Any]:
    """Return the parameters of a profile that trains on AFQMC alone."""
    values = read_profile("bge-large-zh", ROOT)
    source = {"registered": "afqmc", "path": None, "splits": {"train": 0.9, "dev": 0.1, "test": 0}, **source}
    values["ingest"]["sources"] = {"afqmc": source}
    values["assemble"] |= {"train_sources": ["afqmc"], "dev_sources": ["afqmc"]}
    return values


def test_a_limit_cuts_before_the_shares_are_taken(tmp_path):
    for source, expected in (
        ({"splits": None}, 34334),
        ({"splits": None, "limit": 1000}, 1000),
        ({"limit": 1000}, 900),
        ({"limit": 10**6}, 30901),
    ):
        assert numbers_of(afqmc(**source), tmp_path)["afqmc"][0] == expected


@pytest.mark.parametrize("limit", [None, 1000])
def test_the_count_of_a_declared_number_is_near_that_of_ingest(limit, tmp_path, monkeypatch):
    rows = 2000
    pairs = [(f"question {index}", f"answer {index}", index % 2) for index in range(rows)]
    pd.DataFrame(pairs, columns=["sentence1", "sentence2", "score"]).to_parquet(tmp_path / "train.parquet")
    here = afqmc(path=str(tmp_path), limit=limit)
    ingest_sources(Params.parse(here).ingest, tmp_path / "out")
    train = json.loads((tmp_path / "out/counts.json").read_text())["sources"]["afqmc"]["splits"]["train"]
    monkeypatch.setitem(TRAINING_SOURCES, "afqmc", TRAINING_SOURCES["afqmc"].model_copy(update={"examples": rows}))
    expected, _ = numbers_of(afqmc(limit=limit), tmp_path)["afqmc"]
    assert abs(train - expected) < 4 * np.sqrt((limit or rows) * 0.9 * 0.1)


def test_results_made_under_other_settings_are_not_counted(tiny, tmp_path):
    """By what DVC locked: a cap leaves 3 of what ingest counted, and other shares are counted anew."""
    for folder in ((tmp_path / MODEL_INPUT).parent, (tmp_path / COUNTS).parent.parent, tmp_path / "made"):
        folder.mkdir(parents=True)
    make_model_input(tiny, tmp_path / "made").rename(tmp_path / MODEL_INPUT)
    (tmp_path / "made/sources").rename((tmp_path / COUNTS).parent)
    locked = {
        "ingest": {"params": {"params.yaml": {"ingest": tiny["ingest"]}}},
        "assemble": {"params": {"params.yaml": {"assemble": tiny["assemble"], "encoder": tiny["encoder"]}}},
    }
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": locked}))

    assert {evidence for _, evidence in numbers_of(tiny, tmp_path).values()} == {"as assembled"}
    whole, _ = numbers_of(tiny, tmp_path)["tags"]
    capped = {**tiny, "assemble": {**tiny["assemble"], "caps": {"tags": 3}}}
    assert numbers_of(capped, tmp_path)["tags"] == (3, "counted by ingest; cut by assemble.caps")
    shorter = {**tiny, "encoder": {**tiny["encoder"], "max_length": 9}}
    assert numbers_of(shorter, tmp_path)["tags"][1] == "counted by ingest"
    tags = {**tiny["ingest"]["sources"]["tags"], "splits": {"train": 0.1, "dev": 0.1, "test": 0.8}}
    other = {**tiny, "ingest": {**tiny["ingest"], "sources": {**tiny["ingest"]["sources"], "tags": tags}}}
    number, evidence = numbers_of(other, tmp_path)["tags"]
    assert evidence == "counted now"
    assert 0 < number < whole


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("large file", "words.*dvc repro ingest"),
        ("unreadable file", "pairs.tsv"),
    ],
)
def test_a_source_without_a_number_is_named_and_left_out(fault, named, tiny, tmp_path, monkeypatch):
    if fault == "large file":
        monkeypatch.setattr(budget, "SMALL", (tmp_path / "raw/retrieval.jsonl").stat().st_size)
    else:
        (tmp_path / "raw/pairs.tsv").write_text("left\tright\tscore\na\tb\tfar too good\n")
    counts, unknown, wrong = count_examples(Params.parse(tiny), tmp_path)
    assert [count.name for count in counts] == ["tags"]
    (line,) = unknown if fault == "large file" else wrong
    assert re.search(named, line)


@pytest.mark.parametrize("cap", [1, 10, 10**6])
def test_a_cap_cuts_as_assemble_cuts(cap, tiny, tmp_path):
    uncapped, _ = numbers_of(tiny, tmp_path)["tags"]
    tiny["assemble"]["caps"] = {"tags": cap}
    assert numbers_of(tiny, tmp_path)["tags"][0] == len(choose([f"q{number}" for number in range(uncapped)], cap, 1))


DECLARED = [
    ExampleCount(name="q", task="ir", examples=100, evidence="declared"),
    ExampleCount(name="p", task="sts", examples=32, evidence="declared"),
]
SIZE = ModelSize(parameters=1000, layers=2, width=8, feed_forward=32, gated=False)


def train_params(**changes: Any) -> TrainParams:
    return TrainParams.parse({**tiny_params(Path(), Path())["train"], "max_steps": None, **changes}, "train")


@pytest.fixture
def model_input(tiny, tmp_path) -> Path:
    return make_model_input(tiny, tmp_path)


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


def test_a_training_takes_the_steps_that_were_planned(tiny, tmp_path, monkeypatch):
    train_in_this_process(monkeypatch)
    tiny["train"] |= {"epochs": 2, "max_steps": None, "checkpoint_every": None, "log_every": 1}
    params = Params.parse(tiny)
    beforehand, *_ = count_examples(params, tmp_path)
    (tmp_path / "made").mkdir()
    model_input = make_model_input(tiny, tmp_path / "made")
    train_in(tmp_path, params, model_input)

    logged = {}
    for task in ("ir", "sts"):
        with (tmp_path / "curves" / f"{task}.csv").open() as file:
            logged[task] = [int(row["step"]) for row in csv.DictReader(file)]
    for counts in (beforehand, assembled_counts(model_input, ["tags", "words"])):
        planned = run_budget(counts, 24, params.train, 1)
        assert planned.steps == len(logged["ir"]) + len(logged["sts"]) == max(logged["ir"] + logged["sts"])
        for name, task in (("tags", "ir"), ("words", "sts")):
            assert 2 * planned.drawn[name] == 4 * len(logged[task])
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
    kept, held = {}, []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)  # or its address would be given to another
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(input_ids=torch.randint(0, 50, (rows, tokens)))
    return sum(kept.values())


@pytest.mark.parametrize("kind", ["qwen3", "minicpm", "youtu"])
def test_the_size_of_a_backbone_on_the_hub_comes_from_its_configuration(kind, hub, tmp_path, tiny_encoder_params):
    folder = MAKERS[kind](tmp_path / "model")
    hub.serve("model", "some/model", folder, ["0" * 40])
    params = tiny_encoder_params.model_copy(update={"path": "some/model", "revision": "0" * 40})
    size = model_size(params)
    backbone = load_backbone(folder, params)
    assert size.parameters == sum(weight.numel() for weight in backbone.parameters())
    assert (size.layers, size.width) == (backbone.config.num_hidden_layers, backbone.config.hidden_size)
    assert size.gated
    assert not hub.asked("GET /lfs")


@pytest.mark.parametrize("gated", [False, True], ids=["BERT", "Llama"])
def test_a_real_layer_keeps_about_the_bytes_of_the_formula(gated):
    """Two depths, so that the embeddings cancel out; no dropout of attention, for which the CPU has no fused kernel."""
    common = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 192, "vocab_size": 50}
    kind, others = ("llama", {}) if gated else ("bert", {"attention_probs_dropout_prob": 0.0})
    rows, tokens = 4, 32
    torch.manual_seed(0)
    configs = [AutoConfig.for_model(kind, **common, **others, num_hidden_layers=layers) for layers in (2, 4)]
    shallow, deep = (kept_bytes(AutoModel.from_config(config).train(), rows, tokens) for config in configs)
    per_token = (deep - shallow) / 2 / (rows * tokens)
    size = ModelSize(parameters=0, layers=1, width=64, feed_forward=192, gated=gated)
    assert bytes_per_token(size, half=False) == pytest.approx(per_token, rel=0.3)
