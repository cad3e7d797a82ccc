"""The seven stages end to end, in process, on a tiny random encoder: every file the report and DVC need is there."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path

import pytest

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
    common = {"encoder": values["encoder"], "work": work}
    sources = ingest(values["ingest"], work)
    negatives = mine(values["mine"], assemble=values["assemble"], sources=sources, **common)
    examples = assemble(values["assemble"], sources=sources, hard_negatives=negatives, **common)
    checkpoints, curves = train(values["train"], model_input=examples, **common)
    merged = merge(values["merge"], train=values["train"], checkpoints=checkpoints, model_input=examples, **common)
    models = {"checkpoints": checkpoints, "merged": merged, "sources": sources}
    evaluation = evaluate(values["evaluate"], **models, **common)
    folders = {**models, "hard_negatives": negatives, "model_input": examples, "training_curves": curves}
    page, metrics, results = report(values["report"], values, work, evaluation=evaluation, **folders)

    names = [entry["name"] for entry in json.loads((checkpoints / "run.json").read_text())["checkpoints"]]
    assert names == ["step-000002", "step-000004", "step-000006"]
    with results.open() as file:
        rows = list(csv.DictReader(file))
    merged_names = {"merged-uniform", "merged-greedy", "merged-delta_guided"}
    assert {row["model"] for row in rows} == {"base", "step-000006", *merged_names}
    assert {row["benchmark"] for row in rows} == {"Tags", "Words"}
    assert all(math.isfinite(float(row["score"])) for row in rows)
    headline = json.loads(metrics.read_text())
    assert {"ir_ndcg_at_10", "sts_cosine_spearman", "mean"} <= set(headline)
    assert len(headline) <= 8
    text = page.read_text()
    assert "merged-delta_guided" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    with (curves / "sts.csv").open() as file:
        assert {"pearson", "rank_kl", "pro", "mid_info_nce", "tokens_per_second"} <= set(next(csv.DictReader(file)))
