"""What a finished result depends on, beyond what ``test_evaluate_run`` changes: weights, settings and models."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluate_params import evaluate_params
from safetensors.torch import load_file, save_file
from source_tables import WORDS
from tiny_tables import pair_tables

from codiemb_pipeline.encoder.checkpoint import weights_digest
from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.evaluate import evaluator, mteb_encoder
from codiemb_pipeline.evaluate.run import evaluate_models
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params import EncoderParams, EvaluateParams

PAIRS = [("dog", "cat", 0.7), ("dog", "river", 0.1), ("red", "blue", 0.5), ("old", "new", 0.2), ("bird", "fish", 0.9)]
PARAMS = evaluate_params({"Words": WORDS, "Flat": {**WORDS, "split": "dev"}}, geometry={"seed": 1, "texts": 10})
WORDS_ALONE = PARAMS.model_copy(update={"benchmarks": {"Words": PARAMS.benchmarks["Words"]}})


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the name of every folder whose weights are loaded."""
    folders: list[str] = []
    for module in (evaluator, mteb_encoder):
        whole = module.load_encoder

        def spy(params: EncoderParams, folder: Path, whole: Callable[..., Any] = whole) -> Any:
            folders.append(folder.name)
            return whole(params, folder)

        monkeypatch.setattr(module, "load_encoder", spy)
    return folders


@pytest.fixture
def evaluate(
    tmp_path: Path, tiny_encoder_folder: Path, tiny_encoder_params: EncoderParams
) -> Callable[..., dict[str, Any]]:
    """Evaluate copies of the tiny encoder with one shared cache and return the results by model on Words."""
    rows = [(f"{split}{n}", a, b, gold if split == "test" else 0.5, split)
            for split in ("test", "dev") for n, (a, b, gold) in enumerate(PAIRS)]  # fmt: skip
    pair_tables(rows).write(tmp_path / "sources" / "words")
    for name in ("base", "other"):
        shutil.copytree(tiny_encoder_folder, tmp_path / name)

    def call(
        *names: str, params: EvaluateParams = WORDS_ALONE, encoder: EncoderParams = tiny_encoder_params
    ) -> dict[str, Any]:
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        models = {name: tmp_path / name for name in names}
        evaluate_models(params, encoder, models, tmp_path / "sources", tmp_path / "cache", out)
        return {name: read_json(out / "results" / name / "Words.json") for name in names}

    return call


def shake(folder: Path) -> None:
    """Move every weight of the encoder in ``folder``."""
    tensors = load_file(folder / "model.safetensors")
    noise = torch.Generator().manual_seed(5)
    moved = {name: tensor + 0.5 * torch.randn(tensor.shape, generator=noise) for name, tensor in tensors.items()}
    save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})


def test_other_weights_in_the_same_folder_are_evaluated_again(evaluate, loaded, tmp_path):
    before = evaluate("base")["base"]
    assert before["weights_sha256"] == weights_digest(tmp_path / "base")
    shake(tmp_path / "base")
    loaded.clear()
    after = evaluate("base")["base"]
    assert loaded
    assert after["weights_sha256"] == weights_digest(tmp_path / "base") != before["weights_sha256"]
    assert after["scores"]["cosine_pearson"] != before["scores"]["cosine_pearson"]
    loaded.clear()
    assert evaluate("base")["base"] == after
    assert loaded == []


def test_the_same_weights_under_another_name_are_not_evaluated_again(evaluate, loaded):
    base = evaluate("base")["base"]
    loaded.clear()
    both = evaluate("base", "other")
    assert loaded == []
    assert both == {"base": base, "other": {**base, "model": "other"}}


@pytest.mark.parametrize("change", [{"max_length": 16}, {"pooling": "cls"}, {"prompts": {"sts": "music"}}])
def test_other_settings_are_other_results(evaluate, loaded, tiny_encoder_params, change):
    evaluate("base")
    loaded.clear()
    values = tiny_encoder_params.model_dump()
    if "prompts" in change:
        change = {"prompts": {**values["prompts"], "instructions": change["prompts"]}}
    evaluate("base", encoder=EncoderParams.parse({**values, **change}, "encoder"))
    assert loaded


def test_bfloat16_is_another_result_and_the_number_of_processes_is_none(evaluate, loaded):
    exact = evaluate("base")["base"]
    assert exact["precision"] == "fp32"
    loaded.clear()
    assert evaluate("base", params=WORDS_ALONE.model_copy(update={"processes": "auto"}))["base"] == exact
    assert loaded == []
    coarse = evaluate("base", params=WORDS_ALONE.model_copy(update={"precision": "bf16"}))["base"]
    assert loaded
    assert coarse["precision"] == "bf16"
    assert coarse["scores"]["cosine_pearson"] != exact["scores"]["cosine_pearson"]
    assert coarse["scores"]["cosine_pearson"] == pytest.approx(exact["scores"]["cosine_pearson"], abs=0.05)


@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_a_benchmark_without_a_score_is_named_with_its_model_and_the_rest_is_kept(evaluate, monkeypatch, tmp_path):
    with pytest.raises(PipelineError) as caught:  # every gold value of Flat is the same
        evaluate("base", params=PARAMS)
    assert "base on Flat" in str(caught.value)
    assert "base on Words" not in str(caught.value)
    assert not (tmp_path / "out" / "summary.json").exists()

    def refuse(*_: Any) -> Any:
        raise AssertionError("Words was finished")

    monkeypatch.setattr(mteb_encoder, "load_encoder", refuse)
    assert evaluate("base")["base"]["metric"] == "cosine_spearman"


def test_a_model_without_weights_is_named(evaluate, tmp_path):
    (tmp_path / "other" / "model.safetensors").unlink()
    with pytest.raises(PipelineError, match=r"other: expected an encoder folder with weights"):
        evaluate("base", "other")
