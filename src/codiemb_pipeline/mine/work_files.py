"""The working files of one source: texts in blocks, embeddings and neighbours on disk, so no process holds a corpus.

query.txt, document.txt     the texts of the training queries and of the documents, one after the other, UTF-8
<role>.ends.npy             int64 (n,), the byte behind each text
<role>.order.npy            int64 (u,), the different texts from short to long: the rows of the embeddings
<role>.row.npy              int64 (n,), the row of each text's embedding
groups.npy                  int64 (N + Q,), text group of each document, then of each training query; written last
wanted.json                 number of neighbours to search for, by block of queries
query.npy, document.npy     float32 (u, D), embeddings of length one
done.npy                    uint8, 1 for each finished block of texts; an interrupted mining resumes there
claims                      see launch.work_dir
keys-<process>.npz          by block of queries, the highest keys (scoring.search) of the process's documents

Neighbours are exact, and the same for any number of processes: a share of the corpus is whole blocks of documents, and
keys are never equal.
"""

import hashlib
import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch.nn.functional import normalize

from codiemb_pipeline.artifacts.ingest import RetrievalTables
from codiemb_pipeline.distributed import barrier, process_rank, world_size
from codiemb_pipeline.encoder.embedding_store import EmbeddingStore
from codiemb_pipeline.encoder.encode import TEXTS_PER_BLOCK, encode_block
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.jsonl import read_json, write_json
from codiemb_pipeline.launch.work_dir import Claims
from codiemb_pipeline.mine.relevance import MiningSource, read_relevance
from codiemb_pipeline.params.mine import MineParams
from codiemb_pipeline.progress import ProgressBar
from codiemb_pipeline.scoring.search import TopKeys, best_of, scores_and_indices
from codiemb_pipeline.texts import DIGEST, text_digest

GROUPS, WANTED, DONE, CLAIMS, KEYS = "groups.npy", "wanted.json", "done.npy", "claims", "keys-{}.npz"
ROLES = ("query", "document")


class Texts:
    """The texts of one role, read from disk on demand.

    Args:
        folder: of the source.
        role: ``query`` or ``document``.

    Attributes:
        blocks: the rows of the embeddings that are encoded together.
    """

    def __init__(self, folder: Path, role: str) -> None:
        self._file = (folder / f"{role}.txt").open("rb")
        self._ends = np.load(folder / f"{role}.ends.npy", mmap_mode="r")
        self._order = np.load(folder / f"{role}.order.npy")
        count = len(self._order)
        self.blocks = [range(row, min(row + TEXTS_PER_BLOCK, count)) for row in range(0, count, TEXTS_PER_BLOCK)]

    def __getitem__(self, number: int) -> str:
        """Return one text."""
        start = int(self._ends[number - 1]) if number else 0
        self._file.seek(start)
        return self._file.read(int(self._ends[number]) - start).decode()

    def block(self, rows: range) -> list[str]:
        """Return the texts of a block."""
        return [self[int(text)] for text in self._order[rows.start : rows.stop]]


def lay_out(tables: RetrievalTables, name: str, params: MineParams, folder: Path) -> None:
    """Write the texts of source ``name`` unless they exist, and ``wanted.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / GROUPS).exists():
        keys = _write_texts(folder, "document", tables.document_texts())
        keys += _write_texts(folder, "query", tables.of_split("train")["text"])
        _, groups = np.unique(np.frombuffer(keys, dtype=DIGEST), return_inverse=True)
        np.save(folder / f".{GROUPS}", groups)
        (folder / f".{GROUPS}").rename(folder / GROUPS)
    write_json(folder / WANTED, wanted(laid_out(tables, name, folder), params))


def laid_out(tables: RetrievalTables, name: str, folder: Path) -> MiningSource:
    """Return source ``name``, whose texts :func:`lay_out` has written to ``folder``."""
    return read_relevance(tables, name, np.load(folder / GROUPS))


def wanted(source: MiningSource, params: MineParams) -> list[int]:
    """Return the number of neighbours to search for, by block of queries.

    It leaves ``rank_to`` neighbours when the positives of any query of the block, and texts equal to them, are removed.
    """
    first = np.arange(0, len(source.excluded), params.block_queries)
    return (params.rank_to + np.maximum.reduceat(source.excluded, first)).tolist()


def _write_texts(folder: Path, role: str, texts: Iterable[str]) -> bytearray:
    """Write the texts of one role; return the digests of their keys, joined."""
    digests, keys, ends, lengths = bytearray(), bytearray(), array("q"), array("q")
    position = 0
    with (folder / f"{role}.txt").open("wb") as file:
        for text in texts:
            position += file.write(text.encode())
            ends.append(position)
            lengths.append(len(text))
            digests += _digest(text)
            keys += text_digest(text)
    _, first, number = np.unique(np.frombuffer(digests, dtype=DIGEST), return_index=True, return_inverse=True)
    by_length = np.lexsort((first, np.frombuffer(lengths, dtype=np.int64)[first]))  # as in encode_texts
    row = np.empty_like(by_length)
    row[by_length] = np.arange(len(by_length))
    for name, values in (("ends", ends), ("order", first[by_length]), ("row", row[number])):
        np.save(folder / f"{role}.{name}.npy", np.asarray(values, dtype=np.int64))
    return keys


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class Vectors:
    """The embeddings of the queries or documents of an encoded source, read from disk on demand."""

    def __init__(self, folder: Path, role: str) -> None:
        self._vectors = np.load(folder / f"{role}.npy", mmap_mode="r")
        self._row = np.load(folder / f"{role}.row.npy")

    def __len__(self) -> int:
        return len(self._row)

    def __getitem__(self, index: slice | np.ndarray | int) -> torch.Tensor:
        """Return the embeddings at ``index``, copied: (m, D), or (D,) for one."""
        return torch.from_numpy(np.array(self._vectors[self._row[index]]))


def encode_source(
    folder: Path, name: str, encoder: Encoder, params: MineParams, known: EmbeddingStore | None = None
) -> None:
    """Encode a source, all processes together, each the blocks that it claims; long texts first.

    The folder must be laid out; finished blocks are kept. The encoder is the same on every process, in
    evaluation mode; its stored embeddings are ``known``.
    """
    texts = {role: Texts(folder, role) for role in ROLES}
    jobs = [(role, rows) for role in reversed(ROLES) for rows in reversed(texts[role].blocks)]
    if process_rank() == 0:
        _make_files(folder, texts, encoder.model.output_width, len(jobs))
    barrier()
    done = np.load(folder / DONE, mmap_mode="r+")
    open_jobs = np.flatnonzero(done == 0)
    barrier()  # so that all see the same list
    to_do = [jobs[index] for index in open_jobs]
    files = {role: np.load(folder / f"{role}.npy", mmap_mode="r+") for role in ROLES}
    total = sum(len(rows) for _, rows in to_do)
    with ProgressBar(total=total, desc=f"encode {name}", unit="texts") as bar:
        for claimed in Claims(folder / CLAIMS).take(len(to_do)):
            role, rows = to_do[claimed]
            vectors = encode_block(
                encoder,
                texts[role].block(rows),
                prefix=encoder.prompts.prefix("ir", role, name),
                tokens_per_chunk=params.tokens_per_chunk,
                bf16=params.precision == "bf16",
                done=bar.update,
                known=known,
            )
            files[role][rows.start : rows.stop] = normalize(vectors, dim=-1).numpy()
            files[role].flush()  # before it counts as done, in case the machine goes down
            done[open_jobs[claimed]] = 1
    barrier()
    if not done.all():
        raise PipelineError(f"{folder}: {int((done == 0).sum())} of {len(done)} blocks of texts were never encoded")


def finished_blocks(folder: Path) -> tuple[int, int]:
    """Return the numbers of finished and of all blocks of a source, both 0 before it has begun."""
    try:
        done = np.load(folder / DONE, mmap_mode="r")
    except FileNotFoundError:
        return 0, 0
    return int(done.sum()), len(done)


def _make_files(folder: Path, texts: dict[str, Texts], width: int, jobs: int) -> None:
    """Make the files of a source, unless an interrupted mining has left them.

    Disk space is reserved: a full disk would kill the process that writes a row.
    """
    (folder / CLAIMS).unlink(missing_ok=True)
    if (folder / DONE).exists():
        return
    for role in ROLES:
        path, rows = folder / f"{role}.npy", texts[role].blocks[-1].stop
        size = open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, width)).nbytes / 2**30
        try:
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            path.unlink()
            what = f"{size:.1f} GiB of disk for {rows:,} embeddings"
            raise PipelineError(f"{path}: expected {what}: {error.strerror}") from error
    # Written last and renamed: if it exists, so do the others.
    np.save(folder / f".{DONE}", np.zeros(jobs, dtype=np.uint8))
    (folder / f".{DONE}").rename(folder / DONE)


def search_source(folder: Path, params: MineParams, device: torch.device) -> None:
    """Search this process's share of an encoded corpus and write the keys; called by all processes together."""
    if process_rank() == 0:
        for stale in folder.glob(KEYS.format("*")):  # of an attempt with more processes
            stale.unlink()
    barrier()
    queries, documents = Vectors(folder, "query"), Vectors(folder, "document")
    share = share_of(len(documents), params.block_documents, process_rank(), world_size())
    found = TopKeys(queries[:].to(device).split(params.block_queries), read_json(folder / WANTED))
    for first in ProgressBar(share[:: params.block_documents], desc=f"search {folder.name}", unit="blocks"):
        found.add(documents[first : min(first + params.block_documents, share.stop)], first)
    np.savez(folder / KEYS.format(process_rank()), *(keys.cpu().numpy() for keys in found.keys))
    barrier()


def read_neighbours(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield cosines and rows of the nearest documents, best first, (B, k) for each block of training queries."""
    parts = [np.load(path) for path in sorted(folder.glob(KEYS.format("*")))]
    for number, k in enumerate(read_json(folder / WANTED)):
        keys = best_of([torch.from_numpy(part[f"arr_{number}"]) for part in parts], k)
        scores, rows = scores_and_indices(keys)
        yield scores.numpy(), rows.numpy()


def share_of(documents: int, block: int, process: int, processes: int) -> range:
    """Return the rows of the corpus that a process searches: whole blocks, shared out evenly."""
    blocks = -(-documents // block)
    start, stop = (min(blocks * number // processes * block, documents) for number in (process, process + 1))
    return range(start, stop)
