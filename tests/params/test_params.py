"""params.yaml as one object: each fault is one line that names the full key, what was expected and what was found."""

import copy
from typing import Any

import frozen_params
import pytest
from pydantic import ValidationError

from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params import Params
from codiemb_pipeline.params.evaluate import GeometryParams
from codiemb_pipeline.params.ingest import IngestParams, SplitShares


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    return frozen_params.params()


def changed(values: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy with ``value`` at a dotted path; ``...`` takes the key away."""
    copied = copy.deepcopy(values)
    *parents, last = path.split(".")
    place = copied
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return copied


def faults(values: dict[str, Any]) -> list[str]:
    with pytest.raises(InputError) as caught:
        Params.parse(values, "")
    return str(caught.value).splitlines()


def test_the_committed_file_parses_whole_with_a_section_per_stage(committed):
    params = Params.parse(committed, "")
    assert list(committed) == list(Params.model_fields)
    assert list(params.ingest.sources) == list(committed["ingest"]["sources"])
    assert params.train.learning_rate == committed["train"]["learning_rate"]


# `runs` is a map of names to parts of train, `bundle` a path.
SECTIONS = [section for section in Params.model_fields if section not in ("runs", "bundle")]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_parses_alone_as_its_stage_reads_it(committed, section):
    model = Params.model_fields[section].annotation
    assert model.parse(committed[section], section) == getattr(Params.parse(committed, ""), section)


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_key_of_any_section_is_an_error(committed, section):
    lines = faults(changed(committed, f"{section}.zzz", 1))
    assert len(lines) == 1
    assert lines[0].startswith(f"params.yaml: {section}.zzz: unknown parameter (valid: ")


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("trian", "train"),
        ("train.learning_rat", "learning_rate"),
        ("train.sts.parts.mid_info_nce.wieght", "weight"),
        ("ingest.sources.lee.spilts", "splits"),
        ("ingest.sources.semanlink.splits.tran", "train"),
        ("encoder.prompts.templat", "template"),
    ],
)
def test_an_unknown_key_names_its_path_and_the_nearest_valid_one(committed, path, meant):
    assert faults(changed(committed, path, 1)) == [f"params.yaml: {path}: unknown parameter (did you mean {meant!r}?)"]


def test_an_unknown_key_of_one_kind_of_benchmark_names_the_nearest_valid_one(committed):
    (line,) = faults(changed(committed, "evaluate.benchmarks.SimLex999.without_pairs", []))
    assert line.startswith("params.yaml: evaluate.benchmarks.SimLex999.")
    assert line.endswith("without_pairs: unknown parameter (did you mean 'without_pairs_of'?)")


@pytest.mark.parametrize(
    "path", ["mine", "train.learning_rate", "ingest.sources.lee.reader", "train.batch_size.sts", "report.title"]
)
def test_a_missing_key_is_named_by_its_path(committed, path):
    assert faults(changed(committed, path, ...)) == [f"params.yaml: {path}: missing parameter"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("train.epochs", "1"),
        ("train.epochs", 1.5),
        ("train.epochs", True),
        ("train.epochs", None),
        ("train.learning_rate", "5e-5"),
        ("ingest.seed", "49"),
        ("encoder.normalize", 1),
        ("encoder.normalize", "yes"),
        ("encoder.path", 5),
        ("evaluate.models", "base"),
        ("ingest.sources.lee.task", "similarity"),
        ("ingest.sources.lee.score_range", [0, 1, 2]),
        ("train", [1]),
    ],
)
def test_a_value_of_another_type_is_named_and_never_converted(committed, path, value):
    lines = faults(changed(committed, path, value))
    assert lines
    assert all(line.startswith(f"params.yaml: {path}") for line in lines)
    assert any("; found " in line for line in lines)


def test_a_wrong_value_is_shown_beside_what_was_expected(committed):
    expected = "params.yaml: train.epochs: input should be a valid integer; found '1'"
    assert faults(changed(committed, "train.epochs", "1")) == [expected]


def test_every_fault_has_its_own_line(committed):
    values = changed(changed(committed, "train.epochs", "1"), "report.titel", "x")
    assert [line.split(": ")[1] for line in faults(values)] == ["train.epochs", "report.titel"]


def test_shares_that_do_not_sum_to_one_are_an_error(committed):
    (line,) = faults(changed(committed, "ingest.sources.lee.splits", {"train": 0.5, "dev": 0.1, "test": 0.1}))
    assert line == "params.yaml: ingest.sources.lee.splits: train, dev and test must sum to 1"


def test_whole_numbers_stand_for_real_ones():
    assert SplitShares.parse({"train": 1, "dev": 0, "test": 0}, "splits").train == 1.0


def test_lists_become_tuples(committed):
    assert IngestParams.parse(committed["ingest"], "ingest").sources["lee"].score_range == (0.0, 1.0)


def test_parameters_cannot_be_changed_after_reading():
    params = GeometryParams.parse({"seed": 1, "texts": 2}, "geometry")
    with pytest.raises(ValidationError, match="frozen"):
        params.seed = 2
