"""What the processes need of a source, on disk, so that none holds all texts or judgements.

query.arrow, document.arrow             the different texts, a record batch for each block to encode
query.place.npy, document.place.npy     int64, for each query or document the row of its text there
layout.json                             {"wanted": neighbours asked for, of each block of queries}; written last
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from codiemb_pipeline.encoder.encode import TextBlocks
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.mine.judgements import MiningSource
from codiemb_pipeline.params.mine import MineParams

LAYOUT, PLACE = "layout.json", "{}.place.npy"


class Texts:
    """The texts of one role (``query`` or ``document``), mapped from disk.

    Args:
        folder: of the source.
        role: ``query`` or ``document``.
    """

    def __init__(self, folder: Path, role: str) -> None:
        self._batches = pa.ipc.open_file(pa.memory_map(str(folder / f"{role}.arrow")))
        self._place = folder / PLACE.format(role)

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self._batches.num_record_batches

    @cached_property
    def bounds(self) -> np.ndarray:
        """Row each block begins with, and the number of rows; int64 (blocks + 1,)."""
        sizes = [self._batches.get_batch(number).num_rows for number in range(self.blocks)]
        return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])

    @cached_property
    def place(self) -> np.ndarray:
        """Row of each query's or document's text, int64 (n,)."""
        return np.load(self._place)

    def block(self, number: int) -> list[str]:
        """Return the texts of a block."""
        return self._batches.get_batch(number).column(0).to_pylist()


def lay_out(source: MiningSource, params: MineParams, folder: Path) -> None:
    """Write the layout of a source; texts that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for role, texts in (("query", source.query_texts), ("document", source.document_texts)):
        if not (folder / PLACE.format(role)).exists():
            _write_texts(folder, role, TextBlocks(texts))
    write_json(folder / LAYOUT, {"wanted": wanted(source, params)})


def read_wanted(folder: Path) -> list[int]:
    """Return how many neighbours are asked for, for the queries of each block."""
    return read_json(folder / LAYOUT)["wanted"]


def query_blocks(queries: int, params: MineParams) -> list[range]:
    """Return the training queries of each block of the search."""
    size = params.block_queries
    return [range(start, min(start + size, queries)) for start in range(0, queries, size)]


def wanted(source: MiningSource, params: MineParams) -> list[int]:
    """Return how many neighbours are asked for, for the queries of each block.

    So many that ``rank_to`` remain when the positives of any query of the block, and texts equal to them, are gone.
    """
    blocks = query_blocks(len(source.query_ids), params)
    return [params.rank_to + source.most_excluded(block) for block in blocks]


def _write_texts(folder: Path, role: str, parts: TextBlocks) -> None:
    schema = pa.schema([("text", pa.string())])
    with pa.OSFile(str(folder / f"{role}.arrow"), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for number in range(len(parts.blocks)):
            writer.write_batch(pa.record_batch([pa.array(parts.texts_of(number), pa.string())], schema=schema))
    rows = np.empty(len(parts.unique), dtype=np.int64)
    rows[np.concatenate(parts.blocks)] = np.arange(len(rows))
    # Last, and whole: it says that the texts are there.
    np.save(folder / f".{role}.npy", rows[parts.place])
    (folder / f".{role}.npy").rename(folder / PLACE.format(role))
