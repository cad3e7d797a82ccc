"""The whole paper pipeline on tiny encoders of five architectures, from a bundle, with every socket blocked.

What the hub gave is taken away before the first stage. Training runs in this process, so that the block holds there
too: torch opens a port of this machine for its group of one, outside Python's ``socket``; nothing else is spoken to.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_server import Hub
from mini_benchmarks import MINI_SIZES, block_sockets, keep_prepared_copies_in, write_mini_benchmarks
from tiny_architectures import MAKERS
from tiny_run import make_model_input, tiny_params, train_in_this_process, write_sources

from codiemb_pipeline.benchmarks.registry import BENCHMARKS, METRICS, names_of
from codiemb_pipeline.bundle.__main__ import gather
from codiemb_pipeline.bundle.use import with_bundle
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params import Params
from codiemb_pipeline.pipelines.evaluate.nodes import evaluate
from codiemb_pipeline.pipelines.merge.nodes import merge
from codiemb_pipeline.pipelines.train.nodes import train
from codiemb_pipeline.profiles import read_profile

REVISION = "0123456789abcdef" * 2 + "01234567"
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bge-large-zh", {}),
    "xlm-r": ("e5-large-instruct", {}),
    "qwen3": ("qwen3-embedding-0.6b", {}),
    "minicpm": ("minicpm", {}),
    "own code": ("minicpm", {"pooling": "mean", "trust_remote_code": True}),
}
"""The profile whose encoder section a tiny model runs under, and what it sets otherwise."""
JUDGED = {kind: ["DuRetrieval", "STSB"] for kind in SETTINGS} | {"bert": list(BENCHMARKS)}
"""The benchmarks it is judged on: all 15, or one of each kind that has an instruction of its own."""
MODELS = ["base", "main/step-000002", "merged-uniform"]

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Finished:
    """A run from ingest to evaluate: the bundled encoder, and what the last stages wrote."""

    kind: str
    judged: list[str]
    encoder: Path
    merged: Path
    out: Path
    summary: dict[str, Any]


def params_of(kind: str, sources: Path) -> dict[str, Any]:
    """Return the parameters of a small run that asks the hub for the encoder and for its benchmarks."""
    profile, changes = SETTINGS[kind]
    values = tiny_params(sources, Path("tiny", "encoder"))
    encoder = read_profile(profile, Path(__file__).parents[2])["encoder"]
    encoder |= {"path": "tiny/encoder", "revision": REVISION, "max_length": 96, **changes}
    encoder["prompts"]["instructions"] = {"ir": "find", "sts": "alike", "DuRetrieval": "river", "STSB": "music"}
    values["encoder"] = encoder
    values["train"] |= {"max_steps": 2, "checkpoint_every": 1, "learning_rate": 5e-3, "warmup": 0.0}
    values["train"]["launch"]["nproc_per_node"] = 1
    values["merge"]["recipes"] = {"uniform": {"method": "uniform"}}
    values["evaluate"] |= {"benchmarks": {name: {"type": "mteb", "path": None} for name in JUDGED[kind]}}
    values["evaluate"]["geometry"] = None
    return values


def run_stages(values: dict[str, Any], root: Path) -> tuple[Path, Path]:
    """Run all stages; return the folders of merged encoders and of results."""
    root.mkdir()
    model_input, work, checkpoints = make_model_input(values, root), root / "work", root / "checkpoints"
    params = Params.parse(values)
    encoder, runs = params.encoder, params.trainings
    trained, _ = train(runs, "main", encoder, params.evaluate, model_input, work)
    shutil.copytree(trained, checkpoints / "main")
    merged = merge(params.merge, encoder, params.train, params.evaluate, runs, checkpoints, model_input, work)
    return merged, evaluate(params.evaluate, encoder, runs, checkpoints, merged, root / "sources", work)


@pytest.fixture(scope="module", params=SETTINGS)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    kind, root = request.param, tmp_path_factory.mktemp("architecture")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(root / "modules"))
        patch.syspath_prepend(str(root / "modules"))
        keep_prepared_copies_in(root / "prepared", patch)
        benchmarks = write_mini_benchmarks(root / "benchmarks", JUDGED[kind])
        values = params_of(kind, write_sources(root / "raw"))

        with Hub() as hub:
            hub.use_in(root / "hub-home", patch)
            hub.serve("model", "tiny/encoder", MAKERS[kind](root / "model"), [REVISION])
            for name in JUDGED[kind]:
                hub.serve("dataset", BENCHMARKS[name].hub_id, benchmarks[name], [BENCHMARKS[name].revision])
            gather(values, "test", root / "bundle")
        for gone in ("hub-home", "model", "benchmarks", "raw"):
            shutil.rmtree(root / gone)
        block_sockets(patch)
        train_in_this_process(patch)
        values = with_bundle({**values, "bundle": str(root / "bundle")})
        merged, out = run_stages(values, root / "run")
        summary = read_json(out / "summary.json")
        yield Finished(kind, JUDGED[kind], root / "bundle" / "encoder", merged, out, summary)


def test_mteb_reads_the_results_of_every_model(finished):
    from mteb.results import TaskResult

    assert finished.summary["model_order"] == MODELS
    for model in MODELS:
        files = {path.stem: path for path in (finished.out / "mteb" / model).glob("*.json")}
        assert files.keys() == {*finished.judged, "model_meta"}
        for name in finished.judged:
            spec = BENCHMARKS[name]
            result = TaskResult.from_disk(files[name], load_historic_data=False)
            assert (result.task_name, result.dataset_revision) == (name, spec.revision)
            assert result.eval_splits == [spec.split]
            score = result.get_score()
            assert score == result.scores[spec.split][0][METRICS[spec.type]] == finished.summary["models"][model][name]
            assert np.isfinite(score)
            assert finished.summary["benchmarks"][name]["size"] == MINI_SIZES[spec.type]


def test_training_and_merging_change_the_scores_of_both_kinds(finished):
    scores, (base, last, merged) = finished.summary["models"], MODELS[:3]
    both = {kind: set(names_of(kind)) & set(finished.judged) for kind in ("retrieval", "sts")}
    # A mean of two near checkpoints need not change the order of a few pairs.
    for other, model, groups in ((base, last, both.values()), (last, merged, [set().union(*both.values())])):
        for names in groups:
            assert any(abs(scores[model][name] - scores[other][name]) > 1e-4 for name in names), (model, names)


def test_the_merged_encoder_keeps_code_that_may_run_and_no_other(finished):
    """The bundle has MiniCPM's code, which raises, beside the weights, and no saved encoder does."""
    code = {path.name for path in finished.encoder.glob("*.py")}
    assert bool(code) == (finished.kind in ("minicpm", "own code"))
    kept = code if finished.kind == "own code" else set()
    assert {path.name for path in (finished.merged / "uniform").glob("*.py")} == kept
