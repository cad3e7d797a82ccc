"""The embeddings of a source's queries and documents, on disk: made by one process or several, of length one.

queries.npy, documents.npy   float32, a row for each different text
done.npy                     uint8, 1 for each block of texts that is finished; an interrupted mining goes on there
claims                       see launch.claims
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch.nn.functional import normalize
from tqdm import tqdm

from codiemb_pipeline.distributed import barrier, process_rank
from codiemb_pipeline.encoder.encode import TextBlocks
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.launch.claims import Claims
from codiemb_pipeline.mine.judgements import MiningSource

DONE, CLAIMS = "done.npy", "claims"
FILES = {"query": "queries.npy", "document": "documents.npy"}


class Vectors:
    """Embeddings by query or document, read from disk as they are asked for.

    Args:
        path: of the file, a row for each different text.
        place: row of each query or document, int64 (n,).
    """

    def __init__(self, path: Path, place: np.ndarray) -> None:
        self._rows, self._place = np.load(path, mmap_mode="r"), place

    def __len__(self) -> int:
        """Return n."""
        return len(self._place)

    def __getitem__(self, index: slice | np.ndarray | int) -> torch.Tensor:
        """Return the embeddings at ``index``, copied: (m, D), or (D,) for one."""
        return torch.from_numpy(np.array(self._rows[self._place[index]]))

    def blocks(self, rows: range, size: int) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield the embeddings of ``rows``, ``size`` at a time, and the first row of each block."""
        for first in range(rows.start, rows.stop, size):
            yield first, self[first : min(first + size, rows.stop)]


def encode_source(
    source: MiningSource, encoder: Encoder, folder: Path, *, tokens_per_chunk: int, bf16: bool = False
) -> None:
    """Encode a source, all processes together, each the blocks it gets hold of; long texts first.

    Args:
        source: what to encode.
        encoder: the same on every process, in evaluation mode.
        folder: of the source, the same for all; what is finished there stays as it is.
        tokens_per_chunk: padded tokens per forward pass.
        bf16: multiply in bfloat16 (autocast).
    """
    texts = _texts_of(source)
    jobs = [(role, number) for role in ("document", "query") for number in reversed(range(len(texts[role].blocks)))]
    if process_rank() == 0:
        _make_files(folder, texts, encoder.model.output_width, len(jobs))
    barrier()
    done = np.load(folder / DONE, mmap_mode="r+")
    to_do = np.flatnonzero(done == 0)
    barrier()  # so that all see the same list
    files = {role: np.load(folder / name, mmap_mode="r+") for role, name in FILES.items()}
    count = sum(len(texts[role].blocks[number]) for role, number in (jobs[job] for job in to_do))
    with tqdm(total=count, desc=f"encode {source.name}", unit="text", disable=None, leave=False) as bar:
        for place in Claims(folder / CLAIMS).take(len(to_do)):
            role, number = jobs[to_do[place]]
            vectors = texts[role].encode(
                encoder,
                number,
                prefix=encoder.prompts.prefix("ir", role, source.name),
                tokens_per_chunk=tokens_per_chunk,
                bf16=bf16,
                done=bar.update,
            )
            files[role][texts[role].blocks[number]] = normalize(vectors, dim=-1).numpy()
            done[to_do[place]] = 1
    barrier()


def read_vectors(source: MiningSource, folder: Path) -> tuple[Vectors, Vectors]:
    """Return the finished vectors of a source's training queries and of its documents."""
    texts = _texts_of(source)
    queries, documents = (Vectors(folder / name, texts[role].place) for role, name in FILES.items())
    return queries, documents


def finished_blocks(folder: Path) -> tuple[int, int]:
    """Return how many blocks of a source are finished, and of how many; 0 of 0 before it is begun."""
    try:
        done = np.load(folder / DONE, mmap_mode="r")
    except FileNotFoundError:
        return 0, 0
    return int(done.sum()), len(done)


def _texts_of(source: MiningSource) -> dict[str, TextBlocks]:
    return {"query": TextBlocks(source.query_texts), "document": TextBlocks(source.document_texts)}


def _make_files(folder: Path, texts: dict[str, TextBlocks], width: int, jobs: int) -> None:
    """Make the files of a source; those of an interrupted mining stay."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CLAIMS).unlink(missing_ok=True)
    if (folder / DONE).exists():
        return
    for role, name in FILES.items():
        open_memmap(folder / name, mode="w+", dtype=np.float32, shape=(len(texts[role].unique), width))
    # Last, and whole: it says that the others are there.
    np.save(folder / f".{DONE}", np.zeros(jobs, dtype=np.uint8))
    (folder / f".{DONE}").rename(folder / DONE)
