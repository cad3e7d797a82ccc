"""The real LCQMC, STSB, AFQMC and QBQTC with the quickstart's encoder: our path beside mteb run by hand.

    python perf/real_tasks.py --hub ../shared/data/hub

Reads folders in the hub's layout (``<hub>/C-MTEB/LCQMC`` and so on) and the encoder of params.yaml; needs no network.
By hand: mteb's own task on the vectors our path made, a few of them made anew. The limit: 1e-6 apart (our scores are
rounded to six digits). Takes some four minutes on two cores.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "evaluate")]

from mteb_by_hand import evaluate_along_our_path, score_by_hand  # noqa: E402

from codiemb_pipeline.encoder.checkpoint import load_encoder  # noqa: E402
from codiemb_pipeline.params import EncoderParams  # noqa: E402
from codiemb_pipeline.params.file import read_params  # noqa: E402

LIMIT = 1e-6


def main() -> None:
    """Evaluator, compare, print; exit with 1 when two scores are further apart than the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hub", type=Path, default=ROOT.parent / "shared" / "data" / "hub")
    parser.add_argument("--tasks", nargs="+", default=["STSB", "AFQMC", "QBQTC", "LCQMC"])
    given = parser.parse_args()
    values = read_params(ROOT / "params.yaml")
    params = EncoderParams.parse(values["encoder"], "encoder")
    apart = 0.0
    with tempfile.TemporaryDirectory() as root:
        begin = time.perf_counter()
        summary, calls = evaluate_along_our_path(given.tasks, given.hub, params, Path(root))
        print(f"our path: {time.perf_counter() - begin:.0f} s")
    ours, encoder = summary["models"]["base"], load_encoder(params)
    print(f"{'task':8} {'pairs':>6} {'ours':>9} {'by hand':>11} {'apart':>9}", flush=True)
    for name in given.tasks:
        by_hand, pairs = score_by_hand(name, given.hub, encoder, calls[name])
        difference = abs(ours[name] - by_hand)
        apart = max(apart, difference)
        print(f"{name:8} {pairs:6} {ours[name]:9.6f} {by_hand:11.8f} {difference:9.1e}", flush=True)
    sys.exit(apart > LIMIT)


if __name__ == "__main__":
    main()
