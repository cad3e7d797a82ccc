"""Bounds of numbers, names that become names of files, and what must agree between sections of params.yaml."""

import functools
from collections.abc import Iterator
from typing import Any, get_args

import frozen_params
import pytest
from pydantic import BaseModel

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params import Params


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the parameters with ``value`` at a dotted path."""
    values = frozen_params.params()
    *parents, last = path.split(".")
    functools.reduce(dict.__getitem__, parents, values)[last] = value
    return values


def faults(values: dict[str, Any]) -> list[str]:
    with pytest.raises(InputError) as caught:
        Params.parse(values)
    lines = str(caught.value).split("\n")
    assert all(line.startswith("params.yaml: ") and len(line) < 500 for line in lines)
    return lines


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("train.learning_rate", float("nan")),
        ("train.learning_rate", float("inf")),
        ("train.learning_rate", 1e300),
        ("assemble.audit.seed", -1),
        ("assemble.audit.permutations", int(9e18)),
        ("train.seed", 10**30),
        ("train.loader_workers", 2**63),
        ("train.launch.nproc_per_node", 10**9),
        ("train.launch.rendezvous_endpoint", "host:65536"),
        ("train.ir.temperature", 1e-300),
        ("train.ir.false_negative_margin", 1e9),
        ("train.sts.parts.pearson.weight", 1e300),
        ("train.max_steps", 2**63),
        ("train.epochs", 2**31),
        ("encoder.max_length", 2**40),
        ("evaluate.geometry.texts", 10**12),
        ("merge.recipes.delta_guided.levels", True),
        ("merge.recipes.delta_guided.levels", 3),
        ("merge.recipes.delta_guided.tau", 1e-300),
        ("ingest.sources.lee.score_range", [0, 1e-320]),
        ("ingest.sources.lee.score_range", [0]),
        ("encoder.path", ""),
        ("encoder.path", "a\0b"),
        ("encoder.path", "x" * 300),
        ("bundle", " "),
    ],
)
def test_values_that_no_run_could_use_are_refused(path, value):
    assert faults(changed(path, value))[0].startswith(f"params.yaml: {path}")


def bounds_of(part: Any) -> set[str]:
    return {
        kind
        for entry in [part, *getattr(part, "metadata", [])]
        for kind in ("ge", "gt", "le", "lt")
        if hasattr(entry, kind)
    }


def numbers(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, set[str]]]:
    """Yield every number in the types of a section, with the bounds that it has."""

    def within(annotation: Any, name: str, bounds: set[str]) -> Iterator[tuple[str, set[str]]]:
        if annotation in (int, float):
            yield name, bounds
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from numbers(annotation, f"{name}.")
        elif hasattr(annotation, "__metadata__"):
            yield from within(annotation.__origin__, name, bounds.union(*map(bounds_of, annotation.__metadata__)))
        else:
            for part in get_args(annotation):
                yield from within(part, name, bounds)

    for key, field in model.model_fields.items():
        yield from within(field.annotation, f"{above}{key}", set().union(*map(bounds_of, field.metadata)))


def test_every_number_has_a_least_and_a_largest_value():
    found = list(numbers(Params))
    loose = {key.rpartition(".")[2] for key, bounds in found if len(bounds) < 2}
    assert loose == {"score_range", "documents_per_query"}, "whose two numbers are checked together"
    assert len(found) > 60


NAMED = ["ingest.sources", "evaluate.benchmarks", "runs", "merge.recipes"]


@pytest.mark.parametrize("section", NAMED)
@pytest.mark.parametrize(
    "name", ["../../x", "/etc/passwd", "a/b", "a\\b", ".hidden", "", "nul\0", "x" * 100_000, "two\nlines", "\u202ex"]
)
def test_a_name_that_becomes_a_file_name_is_one(section, name):
    values = frozen_params.params()
    place = functools.reduce(dict.__getitem__, section.split("."), values)
    place[name] = next(iter(place.values()))
    assert all(line.startswith(f"params.yaml: {section}") for line in faults(values))


@pytest.mark.parametrize("section", NAMED)
def test_names_that_are_one_where_a_disk_ignores_case_are_refused(section):
    values = frozen_params.params()
    place = functools.reduce(dict.__getitem__, section.split("."), values)
    first = next(iter(place))
    place[first.swapcase()] = place[first]
    assert any(line.startswith(f"params.yaml: {section}") and first.swapcase() in line for line in faults(values))


@pytest.mark.parametrize(
    ("path", "value", "key", "said"),
    [
        ("encoder.prompts.instructions.semanlnk", "x", "encoder.prompts.instructions", "'semanlink'"),
        ("encoder.prompts.instructions.t2rankng", "x", "encoder.prompts.instructions", "'t2ranking'"),
        ("assemble.train_sources", ["semanlink", "simlex99"], "assemble.train_sources", "'simlex999'"),
        ("assemble.train_sources", ["semanlink", "simlex999", "lee"], "assemble.train_sources", "'lee'"),
        ("assemble.train_sources", ["semanlink"], "runs.main.sampler.steps_per_task.sts", "expected 0"),
        ("assemble.dev_sources", ["semanlink", "lee"], "assemble.dev_sources", "'lee'"),
        ("assemble.dev_sources", [], "assemble.dev_sources", "none"),
        ("assemble.caps", {"semanlinks": 5}, "assemble", "'semanlink'"),
        ("train.sampler.source_weights", {"semanlink": 1}, "runs.main.sampler.source_weights", "'simlex999'"),
        ("train.sampler.source_weights", {"semanlink": 1, "simlex": 1}, "runs.main.sampler.source_weights", "'simlex'"),
        ("evaluate.benchmarks.SimLex999.source", "simlex", "evaluate.benchmarks.SimLex999.source", "'simlex999'"),
        ("evaluate.benchmarks.SimLex999.source", "semanlink", "evaluate.benchmarks.SimLex999.source", "'sts'"),
        ("evaluate.benchmarks.LeeDocuments.split", "dev", "evaluate.benchmarks.LeeDocuments.source", "'dev'"),
        ("evaluate.benchmarks.SimLex999.without_pairs_of", ["le"], "evaluate.benchmarks.SimLex999", "'lee'"),
        ("evaluate.models", ["base", "merged-grady"], "evaluate.models", "'merged-greedy'"),
        ("evaluate.models", ["mian/step-000010"], "evaluate.models", "'main/step-"),
        ("merge.recipes.uniform.runs", ["mian"], "merge.recipes.uniform.runs", "'main'"),
        ("merge.recipes.uniform", {"method": "slerp", "t": 0.5, "last_only": True}, "merge.recipes.uniform", "found 1"),
    ],
)
def test_sections_that_do_not_agree_are_named_with_the_nearest(path, value, key, said):
    lines = faults(changed(path, value))
    assert any(line.startswith(f"params.yaml: {key}") and said in line for line in lines), lines


@pytest.mark.parametrize("name", ["ir", "semanlink", "SemanlinkTags", "T2Retrieval", "t2ranking"])
def test_an_instruction_may_be_for_a_task_a_source_a_benchmark_or_one_that_is_known(name):
    Params.parse(changed(f"encoder.prompts.instructions.{name}", "x"))


def test_names_in_other_scripts_and_with_spaces_may_be_benchmarks():
    lee = frozen_params.params()["evaluate"]["benchmarks"]["LeeDocuments"]
    assert "我的 基准 1" in Params.parse(changed("evaluate.benchmarks.我的 基准 1", lee)).evaluate.benchmarks
