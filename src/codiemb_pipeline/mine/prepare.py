"""Embeddings and neighbours of all sources to be mined, by as many processes as asked, in a folder of work in progress.

What an interrupted mining had encoded is kept for the next of the same settings and data.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codiemb_pipeline.artifacts.ingest import read_retrieval
from codiemb_pipeline.encoder.checkpoint import base_folder, files_digest, load_encoder, weights_digest
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.jsonl import write_json
from codiemb_pipeline.launch.torchrun import Progress, Work, count_processes, run_here
from codiemb_pipeline.launch.work_dir import fingerprint, locked
from codiemb_pipeline.locations import folder_digest
from codiemb_pipeline.mine.layout import lay_out
from codiemb_pipeline.mine.neighbours import search_source
from codiemb_pipeline.mine.vectors import encode_source, finished_blocks
from codiemb_pipeline.params.encoder import EncoderParams
from codiemb_pipeline.params.mine import MineParams


@contextmanager
def prepared(
    params: MineParams, encoder_params: EncoderParams, sources: Path, names: list[str], work: Path
) -> Iterator[Path]:
    """Yield a folder with the embeddings and neighbours of each source, in a folder of its name; deleted at the end.

    Args:
        params: the ``mine`` section.
        encoder_params: the ``encoder`` section.
        sources: the folder ``ingest`` wrote.
        names: retrieval sources.
        work: folder of work in progress.

    Raises:
        PipelineError: a process failed, or the same mining is already running.
    """
    processes = count_processes(params.processes, "mine.processes")
    values = {"mine": params.model_dump(mode="json"), "encoder": encoder_params.model_dump(mode="json")}
    folder = work / "mine" / _key(params, values["encoder"], base_folder(encoder_params), sources, names)
    with locked(folder, "mining") as lock:
        for name in names:
            lay_out(read_retrieval(sources, name), name, params, folder / name)
        if processes == 1:
            search_all(params, load_encoder(encoder_params), names, folder)
        else:
            config = folder / "resolved.json"
            write_json(config, {**values, "folder": str(folder.absolute()), "names": names})
            run_here(processes, _work(config, folder), _progress(folder, names), lock)
        yield folder
        shutil.rmtree(folder)


def _key(params: MineParams, encoder: dict[str, Any], base: Path, sources: Path, names: list[str]) -> str:
    """Return a hash of what the embeddings depend on; windows, margins and blocks may change and they stay."""
    return fingerprint(
        encoder=encoder,
        precision=params.precision,
        base=[weights_digest(base), files_digest(base)],
        data={name: folder_digest(sources / name) for name in names},
    )


def search_all(params: MineParams, encoder: Encoder, names: list[str], folder: Path) -> None:
    """Encode and search each source, laid out in its folder; called by all processes together."""
    how = {"tokens_per_chunk": params.tokens_per_chunk, "bf16": params.precision == "bf16"}
    for name in names:
        encode_source(folder / name, name, encoder, **how)
        search_source(folder / name, params, encoder.device)


def _work(config: Path, folder: Path) -> Work:
    return Work(
        name="mining",
        module="codiemb_pipeline.mine.entry",
        config=config,
        folder=folder,
        to_lower="mine.tokens_per_chunk, mine.block_queries or mine.block_documents",
        kept="what is encoded is kept; the next run continues from there",
    )


def _progress(folder: Path, names: list[str]) -> Progress:
    def count() -> tuple[int, int]:
        counts: list[Any] = [finished_blocks(folder / name) for name in names]
        return sum(done for done, _ in counts), sum(of for _, of in counts)

    return Progress(count, "block")
