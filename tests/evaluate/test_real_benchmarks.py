"""The real LCQMC, STSB, AFQMC and QBQTC in the hub's layout, where ``../shared/data/hub`` holds them.

Our whole path against mteb run by hand on the same vectors, as the folder's README does it. The tiny encoder knows no
Chinese: it tells texts apart by length, letters and digits; enough to compare by. ``perf/real_tasks.py`` does the same
with the quickstart's encoder, in four minutes.
"""

from pathlib import Path

import pytest
from mini_benchmarks import block_sockets, keep_prepared_copies_in
from mteb_by_hand import evaluate_along_our_path, score_by_hand

from codiemb_pipeline.benchmarks.registry import BENCHMARKS
from codiemb_pipeline.encoder.checkpoint import load_encoder

ROOT = Path(__file__).parents[2]
HUB = ROOT.parent / "shared" / "data" / "hub"
NAMES = ("LCQMC", "STSB", "AFQMC", "QBQTC")

pytestmark = [pytest.mark.skipif(not HUB.is_dir(), reason=f"no folder {HUB} with real benchmarks"), pytest.mark.slow]


def test_the_real_tasks_score_as_mteb_by_hand_on_the_same_vectors(tmp_path, tiny_encoder_params, monkeypatch):
    block_sockets(monkeypatch)
    keep_prepared_copies_in(tmp_path / "prepared", monkeypatch)
    summary, calls = evaluate_along_our_path(NAMES, HUB, tiny_encoder_params, tmp_path)
    encoder = load_encoder(tiny_encoder_params)
    for name in NAMES:
        expected, pairs = score_by_hand(name, HUB, encoder, calls[name])
        assert summary["models"]["base"][name] == pytest.approx(expected, abs=1e-6)
        assert abs(expected) > 1e-3
        assert summary["benchmarks"][name]["size"] == {"pairs": pairs} == BENCHMARKS[name].size
        assert summary["benchmarks"][name]["full"]
    assert summary["paper"]["tasks"] == {"retrieval": 0, "sts": len(NAMES), "all": len(NAMES)}
