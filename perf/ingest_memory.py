"""Peak memory and speed of ingesting sources as large as the paper's, and larger.

    python perf/ingest_memory.py --gigabytes 5
    python perf/ingest_memory.py --gigabytes 5 --sources t2ranking

Makes files of random text in the layout of T2Ranking (tables), DuReader (gzip, the documents beside their queries) and
LCQMC (pairs), ingests each in a process of its own and prints that process's largest resident memory. The limit we set
ourselves: under 2 GiB, whatever the size. A source takes the size asked and as much again for the result; both are
deleted.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from codiemb_pipeline.ingest.run import ingest_sources
from codiemb_pipeline.params.ingest import IngestParams

LIMIT_GIB = 2.0
PASSAGE_CHARACTERS = 530  # 1,590 bytes of Chinese: 3.66 GB over 2.3 million passages, as T2Ranking's
PASSAGES_PER_QUERY, GRADED, RELEVANT = 9, 6, 3  # about T2Ranking's
NEGATIVES = 40  # of a DuReader query; 1.2 million passages over 86,000 queries says 14, some rows hold more
PAIR_CHARACTERS = 12  # of each text, as LCQMC's
SEED = 49
SHARES = {"train": 0.99, "dev": 0.01, "test": 0}


class Texts:
    """Random Chinese, cut from one long text."""

    def __init__(self) -> None:
        self._draw = np.random.default_rng(SEED)
        letters = np.array([chr(code) for code in range(0x4E00, 0x4E00 + 3000)])
        self._pool = "".join(letters[self._draw.integers(0, len(letters), 2_000_000)])

    def numbers(self, below: int, shape: int | tuple[int, int]) -> np.ndarray:
        """Return random whole numbers."""
        return self._draw.integers(0, below, shape)

    def some(self, count: int, characters: int) -> Iterator[str]:
        """Yield ``count`` texts of half to one and a half times ``characters``."""
        starts = self.numbers(len(self._pool) - 2 * characters, count)
        lengths = self._draw.integers(characters // 2, characters * 3 // 2, count)
        return (self._pool[start : start + length] for start, length in zip(starts, lengths, strict=True))


def make_t2ranking(folder: Path, size: float, texts: Texts) -> Path:
    """Write collection, queries and both qrels."""
    passages = max(int(size / (3 * PASSAGE_CHARACTERS)), 100)
    queries = passages // PASSAGES_PER_QUERY
    for name, count, characters in (("collection", passages, PASSAGE_CHARACTERS), ("queries.train", queries, 12)):
        with (folder / f"{name}.tsv").open("w", encoding="utf-8") as file:
            file.write("pid\ttext\n" if name == "collection" else "qid\ttext\n")
            file.writelines(f"{number}\t{text}\n" for number, text in enumerate(texts.some(count, characters)))
    judged = texts.numbers(passages, (queries, GRADED))
    with (folder / "qrels.train.tsv").open("w") as graded, (folder / "qrels.retrieval.train.tsv").open("w") as relevant:
        graded.write("qid\t-\tpid\trel\n")
        relevant.write("qid\tpid\n")
        for qid, row in enumerate(judged):
            graded.writelines(f"{qid}\t0\t{pid}\t{2 * (place < RELEVANT)}\n" for place, pid in enumerate(row))
            relevant.writelines(f"{qid}\t{pid}\n" for pid in row[:RELEVANT])
    return folder


def make_dureader(folder: Path, size: float, texts: Texts) -> Path:
    """Write rows of a query with its passages; ``size`` counts what is in the gzip."""
    queries = max(int(size / (3 * PASSAGE_CHARACTERS * (1 + NEGATIVES))), 10)
    path = folder / "train.jsonl.gz"
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as file:
        for number, query in enumerate(texts.some(queries, 12)):
            passages = [{"docid": "", "text": text} for text in texts.some(1 + NEGATIVES, PASSAGE_CHARACTERS)]
            row = {"query_id": str(number), "query": query, "positive_passages": passages[:1]}
            file.write(json.dumps(row | {"negative_passages": passages[1:]}, ensure_ascii=False) + "\n")
    return path


def make_lcqmc(folder: Path, size: float, texts: Texts) -> Path:
    """Write pairs as jsonl."""
    pairs = max(int(size / (6 * PAIR_CHARACTERS + 43)), 100)
    path = folder / "train.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for one, other in zip(*(texts.some(pairs, PAIR_CHARACTERS) for _ in range(2)), strict=True):
            file.write(json.dumps({"sentence1": one, "sentence2": other, "score": 1}, ensure_ascii=False) + "\n")
    return path


MAKERS = {"t2ranking": make_t2ranking, "dureader": make_dureader, "lcqmc": make_lcqmc}


def ingest(name: str, path: str, out: Path) -> dict[str, float]:
    """Ingest source ``name``; return seconds, rows read and the largest memory of this process in GiB."""
    params = {"seed": SEED, "tolerance": 0, "sources": {name: {"registered": name, "path": path, "splits": SHARES}}}
    begin = time.perf_counter()
    ingest_sources(IngestParams.parse(params, "ingest"), out)
    seconds = time.perf_counter() - begin
    counts = json.loads((out / "counts.json").read_text(encoding="utf-8"))["sources"][name]  # any checkout's
    return {"seconds": seconds, "rows": counts["rows"], "documents": counts.get("documents", 0), "gib": _peak_gib()}


def _peak_gib() -> float:
    """Return this process's own peak: getrusage's maximum is inherited from the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024**2


def main() -> None:
    """Make each source, ingest it in a child and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--sources", nargs="+", choices=list(MAKERS), default=list(MAKERS))
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, path, out = arguments.one
        sys.stdout.write(json.dumps(ingest(name, path, Path(out))))
        return
    sys.stdout.write("source       gigabytes        rows   documents   seconds    rows/s    GiB\n")
    peaks = [_measured(name, arguments.gigabytes, arguments.folder) for name in arguments.sources]
    verdict = "under" if max(peaks) < LIMIT_GIB else "OVER"
    sys.stdout.write(f"largest resident memory: {max(peaks):.2f} GiB, {verdict} the limit of {LIMIT_GIB:g} GiB\n")
    sys.exit(max(peaks) >= LIMIT_GIB)


def _measured(name: str, gigabytes: float, place: Path | None) -> float:
    """Return the peak of ingesting one source, in GiB."""
    with tempfile.TemporaryDirectory(dir=place) as work:
        folder, out = Path(work) / "raw", Path(work) / "out"
        folder.mkdir()
        out.mkdir()
        path = MAKERS[name](folder, gigabytes * 1e9, Texts())
        size = sum(file.stat().st_size for file in folder.iterdir()) / 1e9
        command = [sys.executable, __file__, "--one", name, str(path), str(out)]
        found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
    speed = found["rows"] / found["seconds"]
    figures = f"{size:9.2f} {found['rows']:11,} {found['documents']:11,} {found['seconds']:9.1f} {speed:9,.0f}"
    sys.stdout.write(f"{name:12} {figures} {found['gib']:6.2f}\n")
    return found["gib"]


if __name__ == "__main__":
    main()
