"""Peak memory of ingest and of mine's loading, and the speed of ingest, on sources larger than the paper's.

    python perf/ingest_memory.py --gigabytes 5
    python perf/ingest_memory.py --gigabytes 5 --sources t2ranking --compare /path/to/another/checkout

Makes files of random text in the formats of T2Ranking (tables), DuReader (gzip, documents beside their queries) and
LCQMC (pairs). Ingests each in a process of its own, then lays it out and loads it in another process as mine does, and
prints the largest resident memory of both. The limit is 2 GiB for any size. With ``--compare``, the code of another
checkout ingests the same files right after. A source needs the given size on disk and as much again for each result;
all is deleted.
"""

import argparse
import gzip
import json
import os
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
    counts = json.loads((out / "counts.json").read_text(encoding="utf-8"))["sources"][name]
    return {"seconds": seconds, "rows": counts["rows"], "documents": counts.get("documents", 0), "gib": _peak_gib()}


def load_as_mine(name: str, out: Path) -> dict[str, float]:
    """Lay source ``name`` out and load it as mine does; return the largest memory of this process in GiB."""
    from codiemb_pipeline.artifacts.ingest import read_retrieval
    from codiemb_pipeline.mine.work_files import Texts as MinedTexts
    from codiemb_pipeline.mine.work_files import laid_out, lay_out
    from codiemb_pipeline.params.mine import MineParams

    values = {"seed": SEED, "negatives_per_query": 8, "rank_from": 1, "rank_to": 60, "absolute_margin": None}
    values |= {"relative_margin": 0.95, "block_queries": 1024, "block_documents": 8192, "tokens_per_chunk": 4096}
    values |= {"precision": "fp32", "processes": 1, "audit_samples": 20}
    tables, folder = read_retrieval(out, name), out / "mine"
    lay_out(tables, name, MineParams.parse(values, "mine"), folder)
    source, texts = laid_out(tables, name, folder), MinedTexts(folder, "document")
    read = sum(len(texts.block(rows)) for rows in texts.blocks)
    return {"documents": len(source.document_ids), "different": read, "gib": _peak_gib()}


def _peak_gib() -> float:
    """Return this process's own peak: getrusage's maximum is inherited from the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024**2


def main() -> None:
    """Make each source, ingest and load it in child processes and print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--sources", nargs="+", choices=list(MAKERS), default=list(MAKERS))
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    parser.add_argument("--compare", type=Path, help="another checkout, whose ingest is timed on the same files")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, out, *path = arguments.one
        found = ingest(name, path[0], Path(out)) if path else load_as_mine(name, Path(out))
        sys.stdout.write(json.dumps(found))
        return
    sys.stdout.write("source       code   gigabytes        rows   documents   seconds    rows/s    GiB  GiB in mine\n")
    peaks = [_measured(name, arguments) for name in arguments.sources]
    verdict = "under" if max(peaks) < LIMIT_GIB else "OVER"
    sys.stdout.write(f"largest resident memory: {max(peaks):.2f} GiB, {verdict} the limit of {LIMIT_GIB:g} GiB\n")
    sys.exit(max(peaks) >= LIMIT_GIB)


def _measured(name: str, arguments: argparse.Namespace) -> float:
    """Return the larger peak of ingesting one source and of loading it in mine, in GiB."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as work:
        folder, out, other = (Path(work) / part for part in ("raw", "out", "other"))
        for part in (folder, out, other):
            part.mkdir()
        path = MAKERS[name](folder, arguments.gigabytes * 1e9, Texts())
        size = sum(file.stat().st_size for file in folder.iterdir()) / 1e9
        found = _child(name, out, path)
        mine = _child(name, out)["gib"] if found["documents"] else 0.0
        _print(name, "this", size, found, f"{mine:12.2f}")
        if arguments.compare is not None:
            theirs = _child(name, other, path, checkout=arguments.compare)
            _print(name, "other", size, theirs, f"  {theirs['seconds'] / found['seconds']:.2f} times as long")
    return max(found["gib"], mine)


def _child(name: str, out: Path, *path: Path, checkout: Path | None = None) -> dict[str, float]:
    """Return what a process of its own measures, with the code of ``checkout`` where given."""
    command = [sys.executable, __file__, "--one", name, str(out), *map(str, path)]
    environment = os.environ | ({} if checkout is None else {"PYTHONPATH": str(checkout / "src")})
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment).stdout)


def _print(name: str, code: str, size: float, found: dict[str, float], rest: str) -> None:
    speed = found["rows"] / found["seconds"]
    figures = f"{size:9.2f} {found['rows']:11,} {found['documents']:11,} {found['seconds']:9.1f} {speed:9,.0f}"
    sys.stdout.write(f"{name:12} {code:6} {figures} {found['gib']:6.2f} {rest}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
