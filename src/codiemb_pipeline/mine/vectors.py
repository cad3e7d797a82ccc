"""The embeddings of a source's queries and documents, on disk: made by one process or several, of length one.

query.npy, document.npy   float32, a row for each different text (mine.layout)
done.npy                  uint8, 1 for each block of texts that is finished; an interrupted mining continues there
claims                    see launch.work_dir
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch.nn.functional import normalize
from tqdm import tqdm

from codiemb_pipeline.distributed import barrier, process_rank
from codiemb_pipeline.encoder.encode import encode_block
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.errors import PipelineError
from codiemb_pipeline.launch.work_dir import Claims
from codiemb_pipeline.mine.layout import Texts

DONE, CLAIMS = "done.npy", "claims"
ROLES = ("query", "document")


class Vectors:
    """Embeddings by query or document, read from disk as they are asked for.

    Args:
        path: of the file, a row for each different text.
        row: the row of each query or document, int64 (n,).
    """

    def __init__(self, path: Path, row: np.ndarray) -> None:
        self._vectors, self._row = np.load(path, mmap_mode="r"), row

    def __len__(self) -> int:
        """Return n."""
        return len(self._row)

    def __getitem__(self, index: slice | np.ndarray | int) -> torch.Tensor:
        """Return the embeddings at ``index``, copied: (m, D), or (D,) for one."""
        return torch.from_numpy(np.array(self._vectors[self._row[index]]))

    def blocks(self, rows: range, size: int) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield the embeddings of ``rows``, ``size`` at a time, and the first row of each block."""
        for first in range(rows.start, rows.stop, size):
            yield first, self[first : min(first + size, rows.stop)]


def encode_source(folder: Path, name: str, encoder: Encoder, *, tokens_per_chunk: int, bf16: bool = False) -> None:
    """Encode a source, all processes together, each the blocks that it claims; long texts first.

    Args:
        folder: of the source, laid out (``mine.layout``); what is finished there stays as it is.
        name: of the source, for its prompts.
        encoder: the same on every process, in evaluation mode.
        tokens_per_chunk: padded tokens per forward pass.
        bf16: multiply in bfloat16 (autocast).
    """
    texts = {role: Texts(folder, role) for role in ROLES}
    jobs = [(role, number) for role in reversed(ROLES) for number in reversed(range(texts[role].blocks))]
    if process_rank() == 0:
        _make_files(folder, texts, encoder.model.output_width, len(jobs))
    barrier()
    done = np.load(folder / DONE, mmap_mode="r+")
    places = np.flatnonzero(done == 0)
    barrier()  # so that all see the same list
    to_do = [jobs[place] for place in places]
    files = {role: np.load(folder / f"{role}.npy", mmap_mode="r+") for role in ROLES}
    count = sum(int(texts[role].bounds[number + 1] - texts[role].bounds[number]) for role, number in to_do)
    with tqdm(total=count, desc=f"encode {name}", unit="text", disable=None, leave=False) as bar:
        for place in Claims(folder / CLAIMS).take(len(to_do)):
            role, number = to_do[place]
            vectors = encode_block(
                encoder,
                texts[role].block(number),
                prefix=encoder.prompts.prefix("ir", role, name),
                tokens_per_chunk=tokens_per_chunk,
                bf16=bf16,
                done=bar.update,
            )
            start, stop = texts[role].bounds[number : number + 2]
            files[role][start:stop] = normalize(vectors, dim=-1).numpy()
            files[role].flush()  # before it is called done, so that this holds when the machine goes down
            done[places[place]] = 1
    barrier()
    if not done.all():
        raise PipelineError(f"{folder}: {int((done == 0).sum())} of {len(done)} blocks of texts were never encoded")


def read_vectors(folder: Path) -> tuple[Vectors, Vectors]:
    """Return the finished vectors of a source's training queries and of its documents."""
    queries, documents = (Vectors(folder / f"{role}.npy", Texts(folder, role).row) for role in ROLES)
    return queries, documents


def finished_blocks(folder: Path) -> tuple[int, int]:
    """Return how many blocks of a source are finished, and of how many; 0 of 0 before it is begun."""
    try:
        done = np.load(folder / DONE, mmap_mode="r")
    except FileNotFoundError:
        return 0, 0
    return int(done.sum()), len(done)


def _make_files(folder: Path, texts: dict[str, Texts], width: int, jobs: int) -> None:
    """Make the files of a source; those of an interrupted mining stay."""
    (folder / CLAIMS).unlink(missing_ok=True)
    if (folder / DONE).exists():
        return
    for role in ROLES:
        _make_file(folder / f"{role}.npy", int(texts[role].bounds[-1]), width)
    # Last, and whole: it says that the others are there.
    np.save(folder / f".{DONE}", np.zeros(jobs, dtype=np.uint8))
    (folder / f".{DONE}").rename(folder / DONE)


def _make_file(path: Path, rows: int, width: int) -> None:
    """Make an array of zeros whose disk is its own: else a full disk would end the process where it writes a row.

    Raises:
        PipelineError: the disk has no room for it.
    """
    array = open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, width))
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        size = array.nbytes / 2**30
        path.unlink()
        what = f"{size:.1f} GiB of disk for {rows:,} embeddings"
        raise PipelineError(f"{path}: expected {what}: {error.strerror}") from error
