"""The seven stages end to end, in process, on a tiny random encoder: every file the report and DVC need is there."""

import csv
import json
import math
import sys
from pathlib import Path

import pytest

from codiemb_pipeline.artifacts.train import TrainedRun
from codiemb_pipeline.catalog_types import RunFolder
from codiemb_pipeline.params import Params
from codiemb_pipeline.pipelines.assemble.nodes import assemble
from codiemb_pipeline.pipelines.evaluate.nodes import evaluate
from codiemb_pipeline.pipelines.ingest.nodes import ingest
from codiemb_pipeline.pipelines.merge.nodes import merge
from codiemb_pipeline.pipelines.mine.nodes import mine
from codiemb_pipeline.pipelines.report.nodes import report
from codiemb_pipeline.pipelines.train.nodes import train

sys.path.insert(0, str(Path(__file__).parent))
from tiny_run import tiny_params, write_sources


@pytest.mark.dist
@pytest.mark.slow
def test_the_seven_stages_run_from_raw_files_to_the_report(tmp_path, tiny_encoder_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values, work = tiny_params(write_sources(tmp_path / "raw"), tiny_encoder_folder), tmp_path / "work"
    values["runs"] = {"main": {}, "hot": {"learning_rate": 1.0e-3, "sampler": {"steps_per_task": {"ir": 1, "sts": 1}}}}
    fusion = values["merge"]["recipes"]["delta_guided"]
    values["merge"]["recipes"] |= {"across": {**fusion, "levels": 2}}
    params = Params.parse(values)
    encoder, runs = params.encoder, params.trainings
    sources = ingest(params.ingest, work)
    negatives = mine(params.mine, encoder, params.assemble, params.evaluate, sources, work)
    examples, contamination = assemble(params.assemble, encoder, params.evaluate, sources, negatives, work)
    checkpoints, curves = tmp_path / "checkpoints", tmp_path / "training"
    for run in runs:
        finished = train(runs, run, encoder, params.evaluate, examples, work)
        for folder, place in zip(finished, (checkpoints, curves), strict=True):
            RunFolder(str(place), run).save(folder)
    merged = merge(params.merge, encoder, params.train, params.evaluate, runs, checkpoints, examples, work)
    evaluation = evaluate(params.evaluate, encoder, runs, checkpoints, merged, sources, work)
    folders = {"hard_negatives": negatives, "model_input": examples, "contamination": contamination}
    folders |= {"training_curves": curves, "merged": merged, "sources": sources}
    page, metrics, results = report(params.report, values, runs, work, evaluation=evaluation, **folders)

    for run in runs:
        names = [entry.name for entry in TrainedRun.of(checkpoints / run).checkpoints]
        assert names == ["step-000002", "step-000004", "step-000006"]
    with results.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["model"] for row in rows} == {
        *("base", "main/step-000006", "hot/step-000006"),
        *("merged-uniform", "merged-greedy", "merged-delta_guided", "merged-across"),
    }
    assert {row["benchmark"] for row in rows} == {"Tags", "Words"}
    assert all(math.isfinite(float(row["score"])) for row in rows)
    headline = json.loads(metrics.read_text())
    assert {"ir_ndcg_at_10", "sts_cosine_spearman", "mean"} <= set(headline)
    assert len(headline) <= 8
    text = page.read_text()
    assert "merged-delta_guided" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "Run hot" in text
    assert "Benchmark texts among the training texts" in text
    with (curves / "main/sts.csv").open() as file:
        assert {"pearson", "rank_kl", "pro", "mid_info_nce", "tokens_per_second"} <= set(next(csv.DictReader(file)))
