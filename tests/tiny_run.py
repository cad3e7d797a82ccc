"""A complete, tiny set of parameters and sources: the quickstart in miniature, for tests that run stages."""

import json
from pathlib import Path
from typing import Any

import frozen_params
import pytest

from codiemb_pipeline.assemble.run import assemble
from codiemb_pipeline.ingest.run import ingest_sources
from codiemb_pipeline.jsonl import read_json
from codiemb_pipeline.mine.run import mine_hard_negatives
from codiemb_pipeline.params import Params
from codiemb_pipeline.train import entry
from codiemb_pipeline.train.run import train_encoder

ROOT = Path(__file__).parents[1]
NOUNS = ["dog", "cat", "bird", "fish", "river", "mountain", "house", "paper", "music", "document"]
COLOURS = ["red", "blue", "green", "old", "new", "small", "big", "the"]


def write_sources(folder: Path) -> Path:
    """Write ``retrieval.jsonl`` (40 queries, two positives each) and ``pairs.tsv`` (60 scored pairs)."""
    folder.mkdir(parents=True, exist_ok=True)
    phrases = [(noun, colour) for noun in NOUNS for colour in COLOURS]
    with (folder / "retrieval.jsonl").open("w") as file:
        for noun, colour in phrases[::2]:
            positives = [f"{colour} {noun} and river", f"the {noun} of a {colour} house"]
            file.write(json.dumps({"query": f"{colour} {noun}", "pos": positives}) + "\n")
    with (folder / "pairs.tsv").open("w") as file:
        file.write("left\tright\tscore\n")
        for place, (noun, colour) in enumerate(phrases[:60]):
            other = NOUNS[(NOUNS.index(noun) + place % 3) % len(NOUNS)]
            file.write(f"{colour} {noun}\t{colour} {other} {place % 7}\t{5 - 2 * (place % 3)}\n")
    return folder


def tiny_params(sources: Path, encoder: Path) -> dict[str, Any]:
    """Return params.yaml's values with tiny sources, encoder and sizes."""
    params = frozen_params.params()
    params["encoder"] |= {"path": str(encoder), "max_length": 24}
    shares = {"train": 0.6, "dev": 0.2, "test": 0.2}
    retrieval = {"task": "ir", "reader": "flag_embedding", "path": str(sources / "retrieval.jsonl"), "splits": shares}
    columns = {"text_a": "left", "text_b": "right", "score": "score"}
    pairs = {"task": "sts", "reader": "pairs", "path": str(sources / "pairs.tsv"), "splits": shares}
    pairs |= {"score_range": [0, 5], "columns": columns}
    params["ingest"]["sources"] = {"tags": retrieval, "words": pairs}
    params["mine"] |= {"rank_to": 10, "negatives_per_query": 3, "relative_margin": None}
    params["assemble"] |= {"train_sources": ["tags", "words"], "dev_sources": ["tags", "words"], "caps": {}}
    params["train"] |= {"batch_size": {"ir": 4, "sts": 4}, "epochs": 3, "max_steps": 6, "loader_workers": 0}
    params["train"]["checkpoint_every"] = 2
    params["train"]["launch"]["threads"] = 1
    params["evaluate"]["models"] = ["base", "last", "merged"]
    params["evaluate"]["benchmarks"] = {
        "Tags": {"type": "retrieval", "source": "tags", "split": "test"},
        "Words": {"type": "sts", "source": "words", "split": "test"},
    }
    params["evaluate"]["geometry"] = {"seed": 1, "texts": 40}
    return params


def make_model_input(values: dict[str, Any], root: Path) -> Path:
    """Run ingest, mine and assemble below ``root`` and return the folder of model input."""
    params = Params.parse(values, "")
    for name in ("sources", "negatives", "input"):
        (root / name).mkdir()
    ingest_sources(params.ingest, root / "sources")
    retrieval = [name for name in params.assemble.train_sources if params.ingest.sources[name].task == "ir"]
    places = (root / "sources", retrieval, root / "negatives", root / "work")
    mine_hard_negatives(params.mine, params.encoder, *places)
    assemble(params.assemble, params.encoder, root / "sources", root / "negatives", root / "input")
    return root / "input"


def training_places(folder: Path) -> dict[str, Path]:
    """Make the folders of a training below ``folder``; as ``train_encoder`` takes them."""
    places = {name: folder / name for name in ("work", "checkpoints", "curves")}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    return places


def train_in(folder: Path, params: Params, model_input: Path) -> Path:
    """Train below ``folder`` and return the checkpoints."""
    places = training_places(folder)
    train_encoder(params.train, params.encoder, model_input=model_input, **places, run="main")
    return places["checkpoints"]


def train_in_this_process(patch: pytest.MonkeyPatch) -> None:
    """Let every training be of one process, and let that be this one, which torchrun would start otherwise."""
    patch.setattr("codiemb_pipeline.train.run.launch_training", lambda _, config, *rest: entry.train(read_json(config)))
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    for name, value in alone.items():
        patch.setenv(name, value)
