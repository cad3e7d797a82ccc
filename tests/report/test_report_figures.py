"""Charts: stable bytes, own ids, text as text."""

import re

import numpy as np
import pandas as pd
import pytest

from codiemb_pipeline.artifacts.merge import Layer
from codiemb_pipeline.artifacts.mine import CosineHistogram
from codiemb_pipeline.report.figures import (
    axes_of,
    delta_norms_chart,
    gains_chart,
    learning_rate_chart,
    looks_of,
    loss_chart,
    merge_weights_chart,
    mining_chart,
    name_ends,
    running_mean,
    to_svg,
)

CURVE = pd.DataFrame({"step": range(1, 41), "epoch": [1] * 20 + [2] * 20, "loss": np.linspace(3, 1, 40)})
LAYERS = [
    Layer(layer=label, label=label, number=number, parameters=1, weights={"step-000010": 0.25, "step-000020": 0.75},
          delta_norms={"step-000010": 1.0, "step-000020": 2.0})
    for label, number in [("embeddings", None), ("0", 0), ("1", 1)]
]  # fmt: skip
STEPS = ["step-000010", "step-000020"]


def test_the_same_numbers_give_the_same_bytes():
    histogram = CosineHistogram(
        edges=[0.0, 0.5, 1.0], positives=[1, 9], kept=[5, 5], dropped=[0, 2], not_sampled=[0, 0]
    )
    draws = [
        lambda: loss_chart(CURVE, "loss", "ir"),
        lambda: mining_chart("semanlink", histogram),
        lambda: merge_weights_chart("greedy", LAYERS, STEPS, 0.75),
        lambda: delta_norms_chart(LAYERS, STEPS),
    ]
    for draw in draws:
        assert draw() == draw()


def test_ids_differ_between_charts_and_every_id_referred_to_is_there():
    charts = [str(loss_chart(CURVE, "loss", "ir")), str(loss_chart(CURVE.assign(loss=2.0), "loss", "ir"))]
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in charts]
    assert ids[0]
    assert not ids[0] & ids[1]
    for svg, own in zip(charts, ids, strict=True):
        assert set(re.findall(r'href="#([^"]+)"', svg)) | set(re.findall(r"url\(#([^)]+)\)", svg)) == own


def test_text_stays_text_in_the_fonts_of_the_page_and_the_chart_has_a_label():
    svg = str(gains_chart(pd.DataFrame({"Words & more": [0.1]}, index=["merged-uniform"])))
    assert ">Words &amp; more</text>" in svg
    assert "font-family" not in svg
    assert svg.startswith('<svg viewBox="0 0 360 100" role="img" aria-label="')


def test_a_label_is_escaped():
    with axes_of() as axes:
        assert 'aria-label="a &lt;b&gt; &#34;c&#34;"' in to_svg(axes, 'a <b> "c"')


def test_names_at_the_ends_of_lines_do_not_overlap_and_stay_within_the_chart():
    with axes_of() as axes:
        axes.set_ylim(0, 1)
        name_ends(axes, [(1.0, "one", "k"), (1.0, "two", "k"), (0.99, "three", "k")])
        heights = sorted(text.xy[1] for text in axes.texts)
        assert min(np.diff(heights)) * axes.figure.get_figheight() * 72 > 10.5
        assert heights[-1] == pytest.approx(1.0)


def test_merged_models_of_any_names_look_different_and_checkpoints_alike():
    looks = looks_of([*(f"merged-{name}" for name in "abcdefgh"), "main/step-000010", "main/step-000020"])
    assert len(set(looks.values())) == 9
    assert looks["main/step-000010"] == looks["main/step-000020"]


def test_the_running_mean_is_centred():
    assert running_mean(pd.Series([0.0, 3.0, 6.0, 0.0])).tolist() == [1.5, 3.0, 3.0, 3.0]


def test_a_learning_rate_is_written_as_it_is():
    curve = pd.DataFrame({"step": [1, 2, 3], "learning_rate": [0.0, 5e-5, 0.0]})
    labels = re.findall(r">([\d.]+e-5)</text>", learning_rate_chart({"ir": curve}))
    assert labels
    assert all(float(label) <= 6e-5 for label in labels)


def test_a_heat_map_writes_every_weight():
    svg = str(merge_weights_chart("greedy", LAYERS, STEPS, 0.75))
    assert svg.count(">.25</text>") == 3
    assert svg.count(">.75</text>") == 3
