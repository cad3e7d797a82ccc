"""Largest memory and time of one retrieval update, all at once against GradCache, at growing batch sizes.

    python perf/grad_cache_memory.py --queries 8 64

Each measurement is a process of its own (a peak cannot be reset): the quickstart's encoder, random texts of 64 tokens,
three documents a query. The peer is the same update without GradCache. Aim: memory does not grow with the batch.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.tokens import pad
from codiemb_pipeline.params import Params
from codiemb_pipeline.params.file import read_params
from codiemb_pipeline.train.collate import IRBatch
from codiemb_pipeline.train.grad_cache import backward_at_once, backward_in_chunks
from codiemb_pipeline.train.step import Objective

ROOT = Path(__file__).parents[1]
TOKENS, DOCUMENTS, CHUNK = 64, 3, 16  # a chunk of 1,024 tokens


def update(queries: int, cached: bool) -> dict[str, float]:
    """Do one forward and backward; return seconds and GiB above the memory before it."""
    params = Params.parse(read_params(ROOT / "params.yaml"))
    encoder = load_encoder(params.encoder)
    generator = np.random.default_rng(1)
    rows = generator.integers(1000, 20000, (queries * (1 + DOCUMENTS), TOKENS))
    chunks = [
        pad(list(rows[start : start + CHUNK]), [0] * len(rows[start : start + CHUNK]), encoder.pad_id)
        for start in range(0, len(rows), CHUNK)
    ]
    place = torch.arange(len(rows))
    documents = place[queries:].view(queries, DOCUMENTS)
    batch = IRBatch(
        chunks=chunks,
        source="random",
        tokens=rows.size,
        padded=rows.size,
        query_rows=place[:queries],
        query_ids=place[:queries],
        document_rows=documents,
        document_ids=documents,
        known_ids=documents[:, :1],
        positives=1,
    )
    objective = Objective(ir=params.train.ir.model_copy(update={"positives": 1}), sts=params.train.sts, mid_layer=None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    backward = backward_in_chunks if cached else backward_at_once
    backward(encoder.model, batch, objective, scale=1.0, exchange=True)
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "gib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024**2}


def main() -> None:
    """Measure each size both ways and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, nargs="+", default=[8, 32, 64])
    parser.add_argument("--one", choices=["plain", "cached"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        sys.stdout.write(json.dumps(update(arguments.queries[0], arguments.one == "cached")))
        return
    sys.stdout.write("queries   all at once           GradCache              memory  time\n")
    for queries in arguments.queries:
        plain, cached = (_measured(queries, kind) for kind in ("plain", "cached"))
        sides = "   ".join(f"{side['gib']:6.2f} GiB {side['seconds']:6.1f} s" for side in (plain, cached))
        ratios = f"{cached['gib'] / plain['gib']:6.2f} {cached['seconds'] / plain['seconds']:5.2f}"
        sys.stdout.write(f"{queries:7}   {sides}   {ratios}\n")


def _measured(queries: int, kind: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", kind, "--queries", str(queries)]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


if __name__ == "__main__":
    main()
