"""Tiny encoder folders and runs, for every test of merging; and merging without any files."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from codiemb_pipeline.artifacts.train import Checkpoint, TrainedRun, checkpoint_name
from codiemb_pipeline.encoder.checkpoint import weights_digest
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.merge.merge import merge_checkpoints
from codiemb_pipeline.merge.methods import METHODS, MergeInputs, MergePlan
from codiemb_pipeline.params.merge import MergeParams

Tensors = dict[str, torch.Tensor]
INDEX = "model.safetensors.index.json"
FUSION = {"granularity": "tensor", "norm": "l2", "weighting": "proportional", "tau": 1.0, "levels": 1}
RECIPES: dict[str, dict[str, Any]] = {
    "uniform": {"method": "uniform"},
    "greedy": {"method": "greedy"},
    "best": {"method": "best"},
    "delta_guided": {"method": "delta_guided", **FUSION},
    "task_arithmetic": {"method": "task_arithmetic", "scale": 0.4},
    "ties": {"method": "ties", "density": 0.5, "scale": 1.0},
    "slerp": {"method": "slerp", "t": 0.25},
    "model_stock": {"method": "model_stock"},
}


def recipe_of(method: str, **changes: object) -> dict[str, Any]:
    """Return the recipe of ``method`` with some settings replaced."""
    return RECIPES[method] | changes


def params(*methods: str, **changes: object) -> MergeParams:
    """Return recipes named after their methods; ``changes`` go into the delta-guided one."""
    recipes = {name: recipe_of(name, **(changes if name == "delta_guided" else {})) for name in methods}
    return from_recipes(recipes)


def from_recipes(recipes: Mapping[str, Any], **others: object) -> MergeParams:
    """Return the section with these recipes."""
    return MergeParams.parse({"skip_first": 0, "output_dtype": None, **others, "recipes": dict(recipes)}, "merge")


def write_folder(folder: Path, tensors: Tensors, shards: Sequence[Sequence[str]] | None = None) -> Path:
    """Write an encoder folder's weights, in one file or in shards by name."""
    folder.mkdir(parents=True, exist_ok=True)
    if shards is None:
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / "model.safetensors")
        return folder
    weight_map = {}
    for number, names in enumerate(shards):
        file = f"model-{number:05d}.safetensors"
        save_file({name: tensors[name].clone() for name in names}, folder / file)
        weight_map |= dict.fromkeys(names, file)
    write_json(folder / INDEX, {"weight_map": weight_map})
    return folder


def write_encoder(folder: Path, tensors: Tensors) -> Path:
    """Write weights and a config that tells the folder's name."""
    write_folder(folder, tensors)
    (folder / "config.json").write_text(f'"{folder.name}"')
    return folder


def write_run(
    folder: Path, base: Tensors, candidates: Sequence[Tensors], scores: Sequence[float] | None = None
) -> Path:
    """Write what ``train`` leaves of one run: checkpoints of steps 0 (the base), 10, 20, ... and ``run.json``."""
    entries = []
    for number, tensors in enumerate([base, *candidates]):
        name = checkpoint_name(number * 10)
        write_encoder(folder / name, tensors)
        dev = scores[number - 1] if scores and number else 0.5
        entries.append(Checkpoint(name=name, step=number * 10, dev={"mean": dev}))
    digest = weights_digest(folder / entries[0].name)
    TrainedRun(base_sha256=digest, base=entries[0], checkpoints=entries[1:]).write(folder / "run.json")
    return folder


def merge_run(root: Path, settings: MergeParams, base: Tensors, candidates: Sequence[Tensors], **others: Any) -> Path:
    """Merge candidates of one run ``main`` below ``root`` and return the folder written."""
    return merge_runs(root, settings, base, {"main": candidates}, **others)


def merge_runs(
    root: Path,
    settings: MergeParams,
    base: Tensors,
    runs: Mapping[str, Sequence[Tensors]],
    scores: Sequence[float] | None = None,
    score: Callable[[Path], float] = lambda folder: 0.5,
    **others: Any,
) -> Path:
    """Merge candidates of several runs below ``root`` and return the folder written."""
    for run, candidates in runs.items():
        write_run(root / "checkpoints" / run, base, candidates, scores)
    merge_checkpoints(settings, list(runs), root / "checkpoints", score, root / "merged", **others)
    return root / "merged"


def weights_of(folder: Path) -> Tensors:
    """Return all of a folder's tensors, however they are sharded."""
    return dict(itertools.chain(*(load_file(file).items() for file in sorted(folder.glob("*.safetensors")))))


def plan_for(
    recipe: Mapping[str, Any], base: Tensors, candidates: Mapping[str, Tensors], scores: Sequence[float] | None = None
) -> MergePlan:
    """Return a method's plan for candidates in memory, named ``<run>/<anything>``."""

    def walk():
        for name in sorted(base):
            yield name, base[name], torch.stack([tensors[name] - base[name] for tensors in candidates.values()])

    return METHODS[recipe["method"]](
        MergeInputs(
            recipe=from_recipes({"it": recipe}).recipes["it"],
            scores=dict(zip(candidates, scores or [0.5] * len(candidates), strict=True)),
            runs=[name.partition("/")[0] for name in candidates],
            walk=walk,
            score_soup=lambda names: 0.5,
        )
    )


def fuse_in_memory(
    recipe: Mapping[str, Any], base: Tensors, candidates: Mapping[str, Tensors], scores: Sequence[float] | None = None
) -> tuple[Tensors, dict[str, list[float]]]:
    """Return the merged tensors and each tensor's weights, of candidates in memory."""
    plan = plan_for(recipe, base, candidates, scores)
    merged, weights = {}, {}
    for name in sorted(base):
        deltas = torch.stack([tensors[name] - base[name] for tensors in candidates.values()])
        merged[name], given = plan.fuse_tensor(name, base[name], deltas)
        weights[name] = given.tolist()
    return merged, weights
