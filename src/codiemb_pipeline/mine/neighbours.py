"""The documents nearest to each training query: each process searches its share of the corpus, then all are merged.

    keys-<process>.npz   for each block of queries the highest keys (scoring.search) of the process's documents

Exact, and the same for any number of processes: a share is whole blocks of documents, and keys are never equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from codiemb_pipeline.distributed import barrier, process_rank, world_size
from codiemb_pipeline.mine.judgements import MiningSource
from codiemb_pipeline.mine.vectors import read_vectors
from codiemb_pipeline.params.mine import MineParams
from codiemb_pipeline.scoring.search import TopKeys, best_of, scores_and_indices

KEYS = "keys-{}.npz"


def search_source(source: MiningSource, folder: Path, params: MineParams, device: torch.device) -> None:
    """Search this process's share of the corpus and write what was found; called by all processes together.

    Args:
        source: encoded before (``mine.vectors``).
        folder: of the source.
        params: window and blocks.
        device: where blocks are scored.
    """
    if process_rank() == 0:
        for stale in folder.glob(KEYS.format("*")):  # of an attempt with more processes
            stale.unlink()
    barrier()
    queries, documents = read_vectors(source, folder)
    share = share_of(len(documents), params.block_documents, process_rank(), world_size())
    asked = [queries[block.start : block.stop].to(device) for block in query_blocks(source, params)]
    found = nearest_keys(source, asked, documents.blocks(share, params.block_documents), params)
    np.savez(folder / KEYS.format(process_rank()), *(keys.cpu().numpy() for keys in found))
    barrier()


def read_neighbours(source: MiningSource, folder: Path, params: MineParams) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield cosines and rows of the nearest documents, best first, (B, k) for each block of training queries."""
    parts = [np.load(path) for path in sorted(folder.glob(KEYS.format("*")))]
    for number, k in enumerate(wanted(source, params)):
        keys = best_of([torch.from_numpy(part[f"arr_{number}"]) for part in parts], k)
        scores, rows = scores_and_indices(keys)
        yield scores.numpy(), rows.numpy()


def nearest_keys(
    source: MiningSource,
    queries: list[torch.Tensor],
    documents: Iterable[tuple[int, torch.Tensor]],
    params: MineParams,
) -> list[torch.Tensor]:
    """Return the keys of the nearest of some documents, (B, k or fewer) for each block of training queries.

    Args:
        source: judgements; so many are asked for that ``rank_to`` remain without the positives and their equals.
        queries: embeddings of each block, of length one, on the device blocks are scored on.
        documents: first row and embeddings of each block of documents.
        params: window and blocks.
    """
    found = TopKeys(queries, wanted(source, params))
    for first, block in documents:
        found.add(block, first)
    return found.keys


def query_blocks(source: MiningSource, params: MineParams) -> list[range]:
    """Return the training queries of each block."""
    count = len(source.query_ids)
    return [range(start, min(start + params.block_queries, count)) for start in range(0, count, params.block_queries)]


def wanted(source: MiningSource, params: MineParams) -> list[int]:
    """Return how many neighbours are asked for, for the queries of each block."""
    return [params.rank_to + source.most_excluded(block) for block in query_blocks(source, params)]


def share_of(documents: int, block: int, process: int, processes: int) -> range:
    """Return the rows of the corpus that a process searches: whole blocks, as many as the others or one more."""
    blocks = -(-documents // block)
    start, stop = (process + step for step in (0, 1))
    return range(*(min(blocks * bound // processes * block, documents) for bound in (start, stop)))
