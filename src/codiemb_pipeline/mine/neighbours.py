"""The documents nearest to each training query: each process searches its share of the corpus, then all are merged.

    keys-<process>.npz   for each block of queries the highest keys (scoring.search) of the process's documents

Exact, and the same for any number of processes: a share is whole blocks of documents, and keys are never equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from codiemb_pipeline.distributed import barrier, process_rank, world_size
from codiemb_pipeline.mine.layout import query_blocks, read_wanted
from codiemb_pipeline.mine.vectors import read_vectors
from codiemb_pipeline.params.mine import MineParams
from codiemb_pipeline.scoring.search import TopKeys, best_of, scores_and_indices

KEYS = "keys-{}.npz"


def search_source(folder: Path, params: MineParams, device: torch.device) -> None:
    """Search this process's share of the corpus and write what was found; called by all processes together.

    Args:
        folder: of the source, encoded (``mine.vectors``).
        params: blocks.
        device: where blocks are scored.
    """
    if process_rank() == 0:
        for stale in folder.glob(KEYS.format("*")):  # of an attempt with more processes
            stale.unlink()
    barrier()
    queries, documents = read_vectors(folder)
    share = share_of(len(documents), params.block_documents, process_rank(), world_size())
    asked = [queries[block.start : block.stop].to(device) for block in query_blocks(len(queries), params)]
    found = TopKeys(asked, read_wanted(folder))
    for first, block in documents.blocks(share, params.block_documents):
        found.add(block, first)
    np.savez(folder / KEYS.format(process_rank()), *(keys.cpu().numpy() for keys in found.keys))
    barrier()


def read_neighbours(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield cosines and rows of the nearest documents, best first, (B, k) for each block of training queries."""
    parts = [np.load(path) for path in sorted(folder.glob(KEYS.format("*")))]
    for number, k in enumerate(read_wanted(folder)):
        keys = best_of([torch.from_numpy(part[f"arr_{number}"]) for part in parts], k)
        scores, rows = scores_and_indices(keys)
        yield scores.numpy(), rows.numpy()


def share_of(documents: int, block: int, process: int, processes: int) -> range:
    """Return the rows of the corpus that a process searches: whole blocks, as many as the others or one more."""
    blocks = -(-documents // block)
    start, stop = (process + step for step in (0, 1))
    return range(*(min(blocks * bound // processes * block, documents) for bound in (start, stop)))
