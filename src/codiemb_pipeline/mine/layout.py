"""The texts of a source on disk, in blocks to encode, so that no process holds a corpus.

query.txt, document.txt     the texts of the training queries and of the documents, one after the other, UTF-8
<role>.ends.npy             int64 (n,), the byte behind each text
<role>.order.npy            int64 (u,), the different texts from short to long: the rows of the embeddings
<role>.row.npy              int64 (n,), the row of each text's embedding
groups.npy                  int64 (N + Q,), text group of each document, then of each training query; written last
wanted.json                 neighbours asked for, of each block of queries
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from codiemb_pipeline.artifacts.ingest import RetrievalTables
from codiemb_pipeline.encoder.encode import TEXTS_PER_BLOCK
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.mine.relevance import MiningSource, read_relevance
from codiemb_pipeline.params.mine import MineParams
from codiemb_pipeline.texts import text_key

GROUPS, WANTED = "groups.npy", "wanted.json"


class Texts:
    """The texts of one role, read from disk as they are asked for.

    Args:
        folder: of the source.
        role: ``query`` or ``document``.

    Attributes:
        row: the row of each text's embedding, int64 (n,).
        bounds: the row each block begins with, and the number of rows, int64 (blocks + 1,).
    """

    def __init__(self, folder: Path, role: str) -> None:
        self._file = (folder / f"{role}.txt").open("rb")
        self._ends = np.load(folder / f"{role}.ends.npy", mmap_mode="r")
        self._order = np.load(folder / f"{role}.order.npy")
        self.row = np.load(folder / f"{role}.row.npy")
        self.bounds = np.append(np.arange(0, len(self._order), TEXTS_PER_BLOCK), len(self._order))

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self.bounds) - 1

    def __getitem__(self, number: int) -> str:
        """Return one text."""
        start = int(self._ends[number - 1]) if number else 0
        self._file.seek(start)
        return self._file.read(int(self._ends[number]) - start).decode()

    def block(self, number: int) -> list[str]:
        """Return the different texts of a block."""
        return [self[int(text)] for text in self._order[self.bounds[number] : self.bounds[number + 1]]]


def lay_out(tables: RetrievalTables, name: str, params: MineParams, folder: Path) -> None:
    """Write the layout of source ``name``; texts that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / GROUPS).exists():
        keys = _write_texts(folder, "document", tables.document_texts())
        keys += _write_texts(folder, "query", tables.of_split("train")["text"])
        np.save(folder / f".{GROUPS}", number_digests(keys)[1])
        (folder / f".{GROUPS}").rename(folder / GROUPS)
    write_json(folder / WANTED, wanted(laid_out(tables, name, folder), params))


def laid_out(tables: RetrievalTables, name: str, folder: Path) -> MiningSource:
    """Return source ``name``, whose texts :func:`lay_out` wrote to ``folder``."""
    return read_relevance(tables, name, np.load(folder / GROUPS))


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


def read_wanted(folder: Path) -> list[int]:
    """Return how many neighbours are asked for, for the queries of each block."""
    return read_json(folder / WANTED)


def digest(text: str) -> bytes:
    """Return 16 bytes that tell texts apart."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def number_digests(digests: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Number different digests in the order of their first occurrence.

    Args:
        digests: n of 16 bytes, joined.

    Returns:
        The first place of each different one, int64 (u,), and the number of each, int64 (n,).
    """
    values = np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2)
    _, first, inverse = np.unique(values, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    return first[order], number[inverse]


def _write_texts(folder: Path, role: str, texts: Iterable[str]) -> bytearray:
    """Write the texts of one role; return the digests of their keys, joined."""
    digests, keys, ends, lengths = bytearray(), bytearray(), array("q"), array("q")
    position = 0
    with (folder / f"{role}.txt").open("wb") as file:
        for text in texts:
            position += file.write(text.encode())
            ends.append(position)
            lengths.append(len(text))
            digests += digest(text)
            keys += digest(text_key(text))
    first, number = number_digests(digests)
    by_length = np.argsort(np.frombuffer(lengths, dtype=np.int64)[first], kind="stable")  # as in encode_texts
    row = np.empty_like(by_length)
    row[by_length] = np.arange(len(by_length))
    for name, values in (("ends", ends), ("order", first[by_length]), ("row", row[number])):
        np.save(folder / f"{role}.{name}.npy", np.asarray(values, dtype=np.int64))
    return keys
