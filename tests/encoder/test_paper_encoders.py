"""The encoders of the paper as the profiles set them, on tiny random models of each architecture."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from objective_params import info_nce
from tiny_architectures import MAKERS

from codiemb_pipeline.artifacts.train import Checkpoint, TrainedRun, checkpoint_name
from codiemb_pipeline.encoder.checkpoint import load_encoder, save_encoder, weights_digest
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.encoder.tokens import pad
from codiemb_pipeline.merge.merge import merge_checkpoints
from codiemb_pipeline.params import EncoderParams
from codiemb_pipeline.params.merge import MergeParams
from codiemb_pipeline.profiles import read_profile
from codiemb_pipeline.train.optimizer import adamw, freeze_unreached, set_learning_rate

ROOT = Path(__file__).parents[2]
TEXTS = ["the red dog", "学生看医生", "a small bird of the river and a big fish 你好", "dog " * 80, "q"]
INSTRUCTION = "Retrieve semantically similar text"
SET_BY = {
    "bert": "bge-large-zh",
    "xlm-r": "e5-large-instruct",
    "qwen3": "qwen3-embedding-0.6b",
    "minicpm": "minicpm",
    "youtu": "youtu",
}
OTHERS = {
    "llama": {"pooling": "mean"},
    "own code": {"pooling": "mean", "trust_remote_code": True},
}

pytestmark = pytest.mark.usefixtures("own_code_cache")


def settings(kind: str, folder: Path, **changes: Any) -> EncoderParams:
    """Return the profile's settings with few instructions, and a length that the tiny models have places for."""
    profile = SET_BY.get(kind, "minicpm")
    values = read_profile(profile, ROOT)["encoder"]
    values |= {"path": str(folder), "revision": None, "max_length": 64}
    prompts = {**values["prompts"], "instructions": {"ir": "find", "sts": INSTRUCTION}, **changes.pop("prompts", {})}
    return EncoderParams.parse({**values, **OTHERS.get(kind, {}), **changes, "prompts": prompts}, "encoder")


@pytest.fixture(scope="module", params=MAKERS)
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory) -> Path:
    return MAKERS[kind](tmp_path_factory.mktemp("base") / "tiny-model")


@pytest.fixture(scope="module")
def encoder(kind: str, folder: Path) -> Encoder:
    return load_encoder(settings(kind, folder))


def vectors(encoder: Encoder, texts: list[str], prefix: str = "") -> torch.Tensor:
    return encode_texts(encoder, texts, prefix=prefix, tokens_per_chunk=300)


ENDS = {
    "bert": ("[CLS]", "[SEP]"),
    "xlm-r": ("<s>", "</s>"),
    "llama": ("<s>", "</s>"),
    "qwen3": (None, "<|endoftext|>"),
    "minicpm": ("<s>", "</s>"),
    "youtu": ("<s>", None),
    "own code": ("<s>", "</s>"),
}


def test_texts_begin_and_end_as_the_architecture_has_it_and_keep_their_end_when_cut(kind, encoder):
    backend = encoder.tokenizer.backend
    first, last = ENDS[kind]
    rows, _ = encoder.tokenize(TEXTS, encoder.prompts.prefix("sts", "query", "stsb"))
    for row in rows:
        tokens = backend.convert_ids_to_tokens(row)
        assert first is None or tokens[0] == first
        assert last is None or (tokens[-1] == last and tokens.count(last) == 1)
        assert last is not None or "</s>" not in tokens
    assert max(map(len, rows)) == 64


def test_a_query_bears_the_instruction_and_a_document_none(kind, encoder):
    query = encoder.prompts.prefix("ir", "query", "any")
    others = {"youtu": "Instruction: find \nQuery: ", "qwen3": "Instruct: find\nQuery:"}
    assert query == others.get(kind, "Instruction: find Query: ")
    assert encoder.prompts.prefix("ir", "document", "any") == ("Passage: " if kind == "bert" else "")
    plain, bearing = (encoder.tokenize(["dog"], prefix)[0][0] for prefix in ("", query))
    special = set(encoder.tokenizer.backend.all_special_tokens)
    pieces = [piece for piece in encoder.tokenizer.backend.convert_ids_to_tokens(bearing) if piece not in special]
    shown = "instruct:findquery:dog" if kind == "qwen3" else "instruction:findquery:dog"
    assert re.sub("[#▁ĠĊ]|<0x0A>", "", "".join(pieces)).lower() == shown
    assert len(bearing) > len(plain)


@pytest.mark.parametrize("text", ["the red dog", "学生看医生"])
def test_pooling_is_that_of_the_profile_done_by_hand(kind, encoder, text):
    """The first state (bge), the last (Qwen), or the mean of the states behind the prompt (the others).

    MiniCPM's is weighted by place in prompt and text.
    """
    prompt = encoder.prompts.prefix("sts", "query", "stsb")
    (row,), _ = encoder.tokenize([text], prompt)
    with torch.inference_mode():
        states = encoder.model.backbone(
            input_ids=torch.tensor([row]), attention_mask=torch.ones(1, len(row), dtype=torch.long)
        ).last_hidden_state[0]
    offsets = encoder.tokenizer.backend(prompt + text, return_offsets_mapping=True)["offset_mapping"]
    offsets += [(0, len(prompt + text))] * (len(row) - len(offsets))  # an end token that is appended
    start = next(place for place, (_, end) in enumerate(offsets) if end > len(prompt))
    places = torch.arange(start + 1, len(row) + 1).unsqueeze(1)
    others = {"bert": states[0], "qwen3": states[-1], "minicpm": (states[start:] * places).sum(dim=0)}
    expected = others.get(kind, states[start:].mean(dim=0))
    torch.testing.assert_close(vectors(encoder, [text], prompt)[0], expected / expected.norm(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["llama", "qwen3"], indirect=True)
def test_no_keys_and_values_are_kept_for_tokens_that_never_come(kind, encoder):
    """They would be as large as all token states of all layers together."""
    batch, kept = pad([[20, 21, 22]], [0], encoder.pad_id), []
    hook = encoder.model.backbone.register_forward_hook(lambda *args: kept.append(args[-1].past_key_values))
    with torch.inference_mode():
        encoder.model([batch])
        encoder.model.backbone(batch.input_ids)
    hook.remove()
    assert [one is None for one in kept] == [True, False]


@pytest.mark.parametrize("padded", [False, True])
def test_the_first_token_sees_the_last_in_all_but_qwen3(kind, encoder, padded):
    """Also in a decoder, and in one whose code was written for it."""
    rows = [[20, 21, 22], [20, 21, 23], *([list(range(20, 30))] if padded else [])]
    with torch.inference_mode():
        first = encoder.model.token_states(pad(rows, [0] * len(rows), encoder.pad_id))[:2, 0]
    assert ((first[0] - first[1]).abs().max() > 1e-3) == (kind != "qwen3")


def train(encoder: Encoder, steps: int) -> list[float]:
    """Train on four queries and their documents, with the profile's gradient checkpointing; return the losses."""
    model = encoder.model.train()
    model.backbone.gradient_checkpointing_enable({"use_reentrant": False})
    queries, _ = encoder.tokenize(["red dog", "old cat", "你好", "医生"], encoder.prompts.prefix("ir", "query", "any"))
    texts = ["a dog that is red", "the cat of old", "大家好", "看学生"]
    documents, _ = encoder.tokenize(texts, encoder.prompts.prefix("ir", "document", "any"))
    batch = [pad(queries, [0] * 4, encoder.pad_id), pad(documents, [0] * 4, encoder.pad_id)]
    freeze_unreached(model, model(batch)[0].sum())
    optimizer = adamw(model, weight_decay=0.0)
    set_learning_rate(optimizer, 5e-3)
    torch.manual_seed(1)  # of dropout
    losses = []
    for _ in range(steps):
        query, document = model(batch)[0].split(4)
        loss = info_nce(query, document, torch.eye(4, dtype=torch.bool), temperature=0.05)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    model.eval()
    return losses


def test_a_training_step_moves_every_weight_matrix_and_lowers_the_loss(kind, folder):
    encoder = load_encoder(settings(kind, folder))
    before = {name: weight.clone() for name, weight in encoder.model.named_parameters()}
    losses = train(encoder, 4)
    assert losses[-1] < losses[0]
    still = {name for name, weight in encoder.model.named_parameters() if torch.equal(weight, before[name])}
    heads = {"backbone.pooler.dense.weight", "backbone.pooler.dense.bias"}  # a head that no embedding comes from
    assert still == (heads if kind in ("bert", "xlm-r") else set())


def test_under_bf16_autocast_vectors_are_nearly_the_same_and_gradients_reach_the_weights(kind, folder):
    model = load_encoder(settings(kind, folder)).model
    batch = pad([[20, 21, 22, 23], [24, 25]], [0, 0], 1)
    plain, middle = model([batch], mid_layer=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, rough_middle = model([batch], mid_layer=1)
    assert rough.dtype == rough_middle.dtype == torch.float32
    assert (plain * rough).sum(dim=1).min() > 0.99
    assert (middle * rough_middle).sum(dim=1).min() > 0.99
    rough.cumsum(dim=0).sigmoid().sum().backward()
    gradient = model.backbone.get_input_embeddings().weight.grad
    assert gradient[20].abs().max() > 0
    assert torch.isfinite(gradient).all()


def test_a_saved_encoder_gives_the_same_vectors_and_bytes_however_much_it_has_encoded(kind, folder, tmp_path):
    params = settings(kind, folder)
    encoder = load_encoder(params)
    prompt = encoder.prompts.prefix("sts", "query", "stsb")
    save_encoder(encoder, tmp_path / "first")
    again = load_encoder(params, tmp_path / "first")
    assert torch.equal(vectors(again, TEXTS, prompt), vectors(encoder, TEXTS, prompt))
    save_encoder(again, tmp_path / "second")
    first, second = (
        {str(file.relative_to(top)): file.read_bytes() for file in sorted(top.rglob("*")) if file.is_file()}
        for top in (tmp_path / "first", tmp_path / "second")
    )
    assert first == second
    assert [name for name in first if name.endswith(".py")] == ["modeling_tiny.py"] * (kind == "own code")
    for name, content in first.items():
        assert not any(str(place).encode() in content for place in (folder.parent, tmp_path)), name


DIFFERS = "with a prompt: sentence-transformers skips as many tokens"


@pytest.mark.parametrize("in_pooling", [True, False])
def test_sentence_transformers_gives_the_same_vectors_or_the_folder_says_where_not(
    kind, folder, tmp_path, in_pooling, sentence_transformers
):
    encoder = load_encoder(settings(kind, folder, prompts={"in_pooling": in_pooling}))
    save_encoder(encoder, tmp_path)
    said = json.loads((tmp_path / "codiemb.json").read_text())["sentence_transformers_differs"]
    # Pieces of XLM-R and of byte-level tokenizers hold the space before them, which is the prompt's last character.
    merges = not in_pooling and kind not in ("bert", "qwen3")
    assert [entry.startswith(DIFFERS) for entry in said] == [True] * merges
    for name, prefix in ((None, ""), ("sts", encoder.prompts.prefix("sts", "query", "any"))):
        other = sentence_transformers(tmp_path, TEXTS, prompt_name=name)
        ours = vectors(encoder, TEXTS, prefix)
        if merges and name:
            assert (other - ours).abs().max() > 1e-3  # as said
        else:
            torch.testing.assert_close(other, ours, atol=1e-5, rtol=0)


def test_two_checkpoints_are_merged_into_an_encoder_that_both_load(kind, folder, tmp_path, sentence_transformers):
    params = settings(kind, folder, prompts={"in_pooling": True})
    encoder, entries = load_encoder(params), []
    for step in (0, 1, 2):
        train(encoder, min(step, 1))
        entries.append(Checkpoint(name=checkpoint_name(step), step=step, dev={"mean": 0.5}))
        save_encoder(encoder, tmp_path / "runs" / "main" / entries[step].name)
    run = TrainedRun(base_sha256=weights_digest(folder), base=entries[0], checkpoints=entries[1:])
    run.write(tmp_path / "runs" / "main" / "run.json")
    fusion = {"granularity": "tensor", "norm": "l2", "weighting": "proportional", "tau": 1.0, "levels": 1}
    recipes = {"uniform": {"method": "uniform"}, "fused": {"method": "delta_guided", **fusion}}
    recipe = MergeParams.parse({"skip_first": 0, "output_dtype": None, "recipes": recipes}, "merge")
    merge_checkpoints(recipe, ["main"], tmp_path / "runs", lambda place: 0.5, tmp_path / "merged")
    ours = [load_encoder(params, tmp_path / "runs" / "main" / entry.name) for entry in run.checkpoints]
    mean = load_encoder(params, tmp_path / "merged" / "uniform")
    states = [dict(one.model.named_parameters()) for one in ours]
    for name, weight in mean.model.named_parameters():
        torch.testing.assert_close(weight, (states[0][name] + states[1][name]) / 2, atol=1e-6, rtol=1e-5)
    fused = load_encoder(params, tmp_path / "merged" / "fused")
    other = sentence_transformers(tmp_path / "merged" / "fused", TEXTS)
    torch.testing.assert_close(other, vectors(fused, TEXTS), atol=1e-5, rtol=0)
