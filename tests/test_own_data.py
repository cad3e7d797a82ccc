"""The worked example of docs/own-data.md: its code and its parameters are taken from the page and run."""

import csv
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_run import NOUNS, make_model_input, tiny_params, train_in, train_in_this_process

from codiemb_pipeline.evaluate.run import evaluate_models
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.params import Params
from codiemb_pipeline.profiles import read_profile

PAGE = (Path(__file__).parents[1] / "docs" / "own-data.md").read_text(encoding="utf-8")
ADJECTIVES = ["red", "blue", "green", "old", "new", "small", "big"]


def block(language: str) -> str:
    """Return the page's only block of code in ``language``."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


def laid_over(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return ``values`` with the sections that the page writes out; sources and benchmarks replace what was there."""
    whole = ("sources", "benchmarks", "train_sources", "dev_sources")
    return {
        key: {**value, **{name: part for name, part in changes[key].items() if name in whole}}
        if key in changes
        else value
        for key, value in values.items()
    }


def write_spreadsheets() -> None:
    with Path("tickets.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "article"])
        for noun in NOUNS:
            writer.writerows([f"{adjective} {noun}", f"the {noun} and a river"] for adjective in ADJECTIVES)
    raw = Path("data/01_raw")
    raw.mkdir(parents=True)
    with (raw / "ratings.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["left", "right", "rating"])
        for place, noun in enumerate(NOUNS):
            writer.writerows(
                [f"{adjective} {noun}", f"{adjective} {NOUNS[(place + turn) % len(NOUNS)]}", 4 - 2 * (turn % 3)]
                for turn, adjective in enumerate(ADJECTIVES)
            )


@pytest.mark.slow
def test_the_worked_example_goes_from_spreadsheets_to_judged_checkpoints(tmp_path, monkeypatch, tiny_encoder_folder):
    monkeypatch.chdir(tmp_path)
    train_in_this_process(monkeypatch)
    write_spreadsheets()
    subprocess.run([sys.executable, "-c", block("python")], check=True)
    values = laid_over(tiny_params(tmp_path, tiny_encoder_folder), yaml.safe_load(block("yaml")))
    values["mine"] |= {"rank_to": 5, "negatives_per_query": 1}
    values["train"] |= {"batch_size": {"ir": 2, "sts": 2}, "max_steps": 2, "checkpoint_every": 2}
    params = Params.parse(values, "")
    (tmp_path / "made").mkdir()
    model_input = make_model_input(values, tmp_path / "made")
    train_in(tmp_path, params, model_input)
    models = {"base": tiny_encoder_folder, "last": tmp_path / "checkpoints" / "step-000002"}
    sources, out = tmp_path / "made" / "sources", tmp_path / "out"
    evaluate_models(params.evaluate, params.encoder, models, sources, tmp_path / "cache", out)
    summary = read_json(out / "summary.json")["models"]
    assert set(summary) == {"base", "last"}
    assert set(summary["last"]) == {"Support", "Ratings"}
    counts = read_json(sources / "counts.json")["sources"]
    assert counts["support"]["documents"] == len(NOUNS)
    assert sum(counts["support"]["splits"].values()) == len(NOUNS) * len(ADJECTIVES)


def test_the_page_changes_nothing_but_keys_that_the_custom_profile_has():
    custom = read_profile("custom", Path(__file__).parents[1])
    for section, changes in yaml.safe_load(block("yaml")).items():
        assert set(changes) <= set(custom[section]), section
    Params.parse(laid_over(custom, yaml.safe_load(block("yaml"))), "")
