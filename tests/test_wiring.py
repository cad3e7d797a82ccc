"""One word per stage everywhere: dvc.yaml, params.yaml, Kedro, src and the catalog agree."""

import ast
import csv
import importlib
import json
from pathlib import Path

import pytest
import yaml

from codiemb_pipeline.ablation.rows import Rows
from codiemb_pipeline.params import Params, run_params
from codiemb_pipeline.params.file import read_params
from codiemb_pipeline.pipeline_registry import STAGES
from codiemb_pipeline.settings import DEFAULT_RUN

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "codiemb_pipeline"
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())
CATALOG = yaml.safe_load((ROOT / "conf/base/catalog.yml").read_text())


RUN = "${key}"  # train is a stage for each run


def declared_of(stage: str) -> dict:
    """Return a stage as dvc.yaml declares it, or the pattern of its runs."""
    declared = DVC["stages"][stage]
    return declared.get("do", declared)


def pipeline_of(stage: str):
    return importlib.import_module(f"codiemb_pipeline.pipelines.{stage}").create_pipeline()


def paths(entries: list) -> set[str]:
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


def test_every_list_of_stages_is_the_same():
    assert tuple(DVC["stages"]) == ("watch", *STAGES)
    assert set(Params.model_fields) == {*STAGES, "bundle", "encoder", "runs"}
    assert {path.parent.name for path in (PACKAGE / "pipelines").glob("*/nodes.py")} == set(STAGES)
    assert all((PACKAGE / stage).is_dir() and (ROOT / "tests" / stage).is_dir() for stage in STAGES)


def test_params_yaml_in_the_root_is_valid():
    Params.parse(read_params(ROOT / "params.yaml"))


@pytest.mark.parametrize("stage", STAGES)
def test_dvc_tracks_the_sections_outputs_and_inputs_of_the_node(stage):
    declared, pipeline = declared_of(stage), pipeline_of(stage)
    command = f"kedro run --pipelines={stage}" + f" --params=run={RUN}" * (stage == "train")
    assert declared["cmd"] == f"CODIEMB_STARTED_BY=$PPID exec {command}"
    sections = {name.removeprefix("params:") for name in pipeline.inputs() if name.startswith("params:")} - {
        "run",
        "values",
    }
    if stage != "evaluate":  # of which others take the bound of the embedding store alone, which changes no result
        sections -= {"evaluate"}
    assert sections <= {str(name).split(".")[0] for name in declared["params"]}
    outs = {path.removesuffix(f"/{RUN}") for path in paths(declared.get("outs", []) + declared.get("metrics", []))}
    assert outs == {CATALOG[name]["filepath"] for name in pipeline.outputs()}
    for name in pipeline.inputs() - {"work"}:
        if not name.startswith("params:"):
            folder = CATALOG[name]["filepath"]
            assert any(path == folder or path.startswith(f"{folder}/") for path in paths(declared["deps"])), name


@pytest.mark.parametrize("stage", STAGES)
def test_dvc_lists_all_the_code_a_stage_runs(stage):
    """A module left out would leave results stale without a word."""
    listed = {path for path in paths(declared_of(stage)["deps"]) if path.startswith("src/")}
    needed = {f"src/codiemb_pipeline/{name}" for name in reached(PACKAGE / stage)}
    uncovered = {name for name in needed if not any(name == path or name.startswith(f"{path}/") for path in listed)}
    assert not uncovered


HARMLESS = {
    *("errors.py", "hub.py", "jsonl.py", "locations.py", "process_guard.py", "progress.py", "schema.py"),
    *("params/__init__.py", "params/base.py"),
}
HARMLESS |= {"__init__.py"}


def reached(start: Path) -> set[str]:
    """Return the modules of ours that a folder's files reach by imports, except those that decide no result."""
    seen: set[Path] = set()
    todo = list(start.rglob("*.py"))
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("codiemb_pipeline."):
                target = PACKAGE.joinpath(*node.module.split(".")[1:])
                if target.with_suffix(".py").exists():
                    todo.append(target.with_suffix(".py"))
    return {str(path.relative_to(PACKAGE)) for path in seen} - HARMLESS


def test_train_is_a_stage_for_each_run_of_the_parameters():
    assert DVC["stages"]["train"]["foreach"] == "${runs}"
    assert "runs.${key}" in declared_of("train")["params"]


def test_the_run_of_a_plain_kedro_run_is_one_of_the_committed_ones():
    runs = read_params(ROOT / "params.yaml")["runs"]
    assert DEFAULT_RUN in runs
    for name in ("checkpoints", "training_curves"):
        assert CATALOG[name]["run"] == f"${{runtime_params:run, {DEFAULT_RUN}}}"


ABLATION = yaml.safe_load((ROOT / "conf/ablation/dvc.yaml").read_text())["stages"]


def test_the_ablation_trains_each_of_its_rows():
    rows = Rows.of(ROOT)
    assert ABLATION["train"]["matrix"]["row"] == list(rows.rows)
    assert ABLATION["evaluate"]["matrix"]["seed"] == ABLATION["train"]["matrix"]["seed"]
    assert len(ABLATION["train"]["matrix"]["seed"]) == 3
    values = read_params(ROOT / "params.yaml")
    for name, row in rows.rows.items():
        run_params(values["train"], row.train, name)


@pytest.mark.parametrize(("stage", "parts"), [("train", ["train"]), ("evaluate", ["merge", "evaluate"])])
def test_the_ablation_lists_all_the_code_it_runs(stage, parts):
    listed = {path for path in paths(ABLATION[stage]["deps"]) if path.startswith("src/")}
    needed = {f"src/codiemb_pipeline/{name}" for part in parts for name in reached(PACKAGE / part)}
    assert not {name for name in needed if not any(name == path or name.startswith(f"{path}/") for path in listed)}


def test_the_plot_of_results_sets_benchmarks_side_by_side():
    """DVC's own bars lie on top of each other where a model has several rows: their scores would add up."""
    (plot,) = (entry["results"] for entry in DVC["plots"] if "results" in entry)
    spec = json.loads((ROOT / f".dvc/plots/{plot['template']}.json").read_text())
    with (ROOT / "data/08_reporting/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    apart = [column for entry in (plot["x"], plot["y"]) for column in entry.values()]
    assert set(apart) == {"score", "model"}
    bars = [(row["model"], row[spec["encoding"]["facet"]["field"]]) for row in rows]
    assert len(set(bars)) == len(bars) > 1, "two rows would share a bar"


def test_nodes_stay_thin():
    for path in (PACKAGE / "pipelines").glob("*/nodes.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.body[min(1, len(node.body) - 1)].lineno < 15, path
