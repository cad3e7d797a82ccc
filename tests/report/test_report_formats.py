"""Numbers as the page writes them."""

import math

import pytest

from codiemb_pipeline.report.formats import (
    direction,
    duration,
    encoder_name,
    listed,
    number,
    short_step,
    signed,
    to_yaml,
)


@pytest.mark.parametrize(
    ("value", "text"), [(0.07149, "+0.071"), (-0.0016, "−0.002"), (-0.0004, "±0.000"), (0.0, "±0.000"), (None, "–")]
)
def test_a_difference_has_a_sign_unless_it_rounds_to_nothing(value, text):
    assert signed(value) == text


def test_a_number_keeps_its_decimals_and_has_a_true_minus():
    assert [number(0.5), number(-3.71, 2), number(-0.0001), number(math.nan)] == ["0.500", "−3.71", "0.000", "–"]


def test_a_direction_depends_on_the_decimals_shown():
    assert [direction(0.0006), direction(-0.0006), direction(0.0004), direction(None)] == ["up", "down", "same", "same"]


def test_durations_are_read_at_a_glance():
    assert [duration(6.44), duration(59.6), duration(402.6), duration(7265)] == [
        "6.4 s",
        "1 min 00 s",
        "6 min 43 s",
        "2 h 01 min",
    ]


def test_names_are_listed():
    assert [listed([]), listed(["a"]), listed(["a", "b", "c"])] == ["", "a", "a, b and c"]


def test_no_absolute_path_gets_into_the_parameters():
    text = to_yaml({"path": "/home/someone/models/mine", "list": ["C:\\Users\\someone\\x\\y"], "relative": "data/x"})
    assert "someone" not in text
    assert "…/models/mine" in text
    assert "data/x" in text


@pytest.mark.parametrize(
    ("path", "name"),
    [("package:mini_lm/model", "mini_lm"), ("/home/me/encoder/", "encoder"), ("BAAI/bge-base", "BAAI/bge-base")],
)
def test_an_encoder_is_called_by_its_package_folder_or_id(path, name):
    assert encoder_name(path) == name


@pytest.mark.parametrize(
    ("name", "short"),
    [("main/step-000030", "step 30"), ("hot/step-000030", "hot, step 30"), ("merged-uniform", "merged-uniform")],
)
def test_a_checkpoint_is_called_by_its_step_and_other_runs_by_name(name, short):
    assert short_step(name) == short
