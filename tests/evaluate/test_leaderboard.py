"""Results in mteb's own format: read by mteb, byte for byte as mteb writes them, and the same from run to run."""

import json
import shutil
from pathlib import Path

import pytest
from evaluate_params import evaluate_params

from codiemb_pipeline.benchmarks.registry import BENCHMARKS
from codiemb_pipeline.encoder.checkpoint import weights_digest
from codiemb_pipeline.evaluate.run import evaluate_models
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params import EncoderParams

NAMES = ["EcomRetrieval", "ATEC", "AFQMC"]


def evaluate(root: Path, name: str, params: EncoderParams, encoder: Path) -> Path:
    """Evaluate two models of the same weights with a cache of their own."""
    entries = {entry: {"type": "mteb", "path": str(root / "hub" / BENCHMARKS[entry].hub_id)} for entry in NAMES}
    models = {"base": encoder, "main/step-000010": encoder}
    settings = evaluate_params(entries)
    evaluate_models(settings, params, models, root / "none", root / f"cache-{name}", root / name)
    return root / name


@pytest.fixture(scope="module")
def out(root: Path, tiny_encoder_params: EncoderParams, tiny_encoder_folder: Path) -> Path:
    return evaluate(root, "out", tiny_encoder_params, tiny_encoder_folder)


@pytest.mark.parametrize("name", NAMES)
def test_mteb_reads_a_result_and_writes_the_same_bytes(out, tmp_path, name):
    from mteb.results import TaskResult

    file = out / "mteb" / "base" / f"{name}.json"
    result = TaskResult.from_disk(file, load_historic_data=False)
    assert (result.task_name, result.eval_splits) == (name, [BENCHMARKS[name].split])
    assert result.get_score() == read_json(out / "summary.json")["models"]["base"][name]
    assert (result.date, result.evaluation_time, result.evaluation_phases) == (None, None, None)
    result.to_disk(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == file.read_bytes()


def test_mteb_s_cache_loads_the_results_under_the_model_s_name(out, tmp_path, tiny_encoder_folder):
    """The layout of the results repository: ``results/<model>/<revision>/``."""
    import mteb

    revision = weights_digest(tiny_encoder_folder)
    for model in ("base", "main/step-000010"):
        meta = json.loads((out / "mteb" / model / "model_meta.json").read_text())
        assert meta["name"] == f"codiemb/{model.replace('/', '__')}"
        assert (meta["revision"], meta["embed_dim"], meta["max_tokens"]) == (revision, 16, 32)
        shutil.copytree(out / "mteb" / model, tmp_path / "results" / meta["name"].replace("/", "__", 1) / revision)
    found = mteb.ResultCache(cache_path=tmp_path).load_results(tasks=NAMES, require_model_meta=True)
    scores = {entry.model_name: {r.task_name: r.get_score() for r in entry.task_results} for entry in found}
    expected = read_json(out / "summary.json")["models"]["base"]
    assert scores == {"codiemb/base": expected, "codiemb/main__step-000010": expected}


def test_another_run_from_the_start_gives_the_same_bytes(root, out, tiny_encoder_params, tiny_encoder_folder):
    again = evaluate(root, "again", tiny_encoder_params, tiny_encoder_folder)
    files = sorted((out / "mteb").rglob("*.json"))
    assert len(files) == 2 * (len(NAMES) + 1)
    for file in files:
        assert file.read_bytes() == (again / file.relative_to(out)).read_bytes()
