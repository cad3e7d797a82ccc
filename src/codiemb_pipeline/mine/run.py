"""The mine stage: encodes queries and corpus of each source, mines, writes hard negatives and the audit.

    <source>.jsonl   {"query_id", "negatives": [doc_id], "scores": [cosine]}, a line per training query in their order
    audit.json       see artifacts.mine
    made_under.json  what the similarities depend on beside the texts (encoder.compatibility), if any source was mined

Embeddings are on disk (4 · D bytes per text) until the mining ends, so an interrupted mining resumes; memory holds ids,
the queries' embeddings and blocks.
"""

import logging
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from codiemb_pipeline.artifacts.ingest import RetrievalTables, read_retrieval
from codiemb_pipeline.artifacts.mine import MiningAudit, SourceAudit
from codiemb_pipeline.distributed import process_group, take_own_gpu
from codiemb_pipeline.encoder.checkpoint import (
    base_folder,
    files_digest,
    load_encoder,
    load_tokenizer,
    weights_digest,
)
from codiemb_pipeline.encoder.compatibility import SETTINGS_FINGERPRINT, settings_fingerprint
from codiemb_pipeline.encoder.embedding_store import embeddings_folder, open_store
from codiemb_pipeline.encoder.text_encoder import Encoder
from codiemb_pipeline.jsonl import write_json, write_jsonl
from codiemb_pipeline.launch.torchrun import Jobs, Work, count_processes, run_here
from codiemb_pipeline.launch.work_dir import fingerprint, finish, locked, remove_finished
from codiemb_pipeline.locations import folder_digest
from codiemb_pipeline.mine.audit import AuditCollector
from codiemb_pipeline.mine.negatives import MinedQuery, mine_source
from codiemb_pipeline.mine.relevance import MiningSource, check_minable
from codiemb_pipeline.mine.work_files import (
    Texts,
    Vectors,
    encode_source,
    finished_blocks,
    laid_out,
    lay_out,
    read_neighbours,
    search_source,
)
from codiemb_pipeline.params.encoder import EncoderParams
from codiemb_pipeline.params.mine import MineParams

logger = logging.getLogger(__name__)


def mine_hard_negatives(
    params: MineParams,
    encoder_params: EncoderParams,
    sources: Path,
    names: list[str],
    out: Path,
    work: Path,
    store_gigabytes: float = 0,
) -> None:
    """Mine hard negatives for the training queries of retrieval sources, with the base encoder.

    Args:
        params, encoder_params: the sections ``mine`` and ``encoder``.
        sources: the folder ``ingest`` wrote.
        names: retrieval sources to mine; none is allowed, and leaves an empty audit.
        out: folder to write into.
        work: folder of work in progress.
        store_gigabytes: bound of the embedding store.

    Raises:
        InputError: a source does not exist, is no retrieval source, has no training queries, or its tables disagree.
        PipelineError: a process failed.
    """
    for name in names:  # before the first is encoded, which may take hours
        check_minable(read_retrieval(sources, name), name)
    audits: dict[str, SourceAudit] = {}
    if names:
        processes = count_processes(params.processes, "mine.processes")
        folder = work_folder(params, encoder_params, sources, names, work)
        with locked(folder, "mining") as lock:
            remove_finished(work / "mine", but=folder.name)
            for name in names:
                lay_out(read_retrieval(sources, name), name, params, folder / name)
            if processes == 1:
                search_all(params, load_encoder(encoder_params), names, folder, store_gigabytes)
            else:
                _search_in(processes, params, encoder_params, names, folder, lock, store_gigabytes)
            for name in names:
                audits[name] = _mine_source(read_retrieval(sources, name), name, folder / name, params, out)
            finish(folder)
        base = weights_digest(base_folder(encoder_params))
        write_json(out / SETTINGS_FINGERPRINT, settings_fingerprint(load_tokenizer(encoder_params), base))
    MiningAudit(sources=audits).write(out / "audit.json")


def work_folder(params: MineParams, encoder_params: EncoderParams, sources: Path, names: list[str], work: Path) -> Path:
    """Return the folder of a mining's working files, named by a hash of what embeddings depend on.

    Windows, margins, blocks and processes may change between two attempts.
    """
    base = base_folder(encoder_params)
    key = fingerprint(
        encoder=encoder_params.model_dump(mode="json"),
        precision=params.precision,
        base=[weights_digest(base), files_digest(base)],
        data={name: folder_digest(sources / name) for name in names},
    )
    return work / "mine" / key


def _mine_source(tables: RetrievalTables, name: str, folder: Path, params: MineParams, out: Path) -> SourceAudit:
    """Write the hard negatives of one source and return its audit."""
    source = laid_out(tables, name, folder)
    collector = AuditCollector(source, Texts(folder, "query"), Texts(folder, "document"), params)
    queries, documents = Vectors(folder, "query"), Vectors(folder, "document")
    mined = mine_source(source, queries, documents, read_neighbours(folder), params)
    write_jsonl(out / f"{name}.jsonl", _rows(source, mined, collector))
    audit = collector.audit()
    logger.info(
        "mined %(source)s: %(negatives)d negatives for %(queries)d queries from %(documents)d documents; "
        "%(queries_with_fewer)d queries got fewer than %(limit)d",
        {**audit.counts, "source": name, "limit": params.negatives_per_query},
    )
    return audit


def _rows(source: MiningSource, found: Iterable[MinedQuery], collector: AuditCollector) -> Iterator[dict[str, Any]]:
    """Yield the row of each training query, and count it."""
    for mined in found:
        collector.add(mined)
        negatives = mined.negatives()
        yield {
            "query_id": source.query_ids[mined.query],
            "negatives": [source.document_ids[row] for row, _ in negatives],
            "scores": [round(score, 6) for _, score in negatives],
        }


def search_all(params: MineParams, encoder: Encoder, names: list[str], folder: Path, store_gigabytes: float) -> None:
    """Encode and search each source, laid out in its folder; called by all processes together."""
    known = open_store(encoder, embeddings_folder(folder.parents[1]), store_gigabytes, bf16=params.precision == "bf16")
    for name in names:
        encode_source(folder / name, name, encoder, params, known)
        search_source(folder / name, params, encoder.device)


def mine_share(config: dict[str, Any]) -> None:
    """Encode and search this process's share of the sources of ``config``."""
    take_own_gpu()
    params = MineParams.parse(config["mine"], "mine")
    # The processes only wait for each other: vectors and keys go through files. A block may take long on a CPU.
    with process_group("gloo", timedelta(days=1)):
        encoder = load_encoder(EncoderParams.parse(config["encoder"], "encoder"))
        search_all(params, encoder, config["names"], Path(config["folder"]), config["store_gigabytes"])


def _search_in(
    processes: int,
    params: MineParams,
    encoder_params: EncoderParams,
    names: list[str],
    folder: Path,
    lock: int,
    store_gigabytes: float,
) -> None:
    """Run :func:`mine_share` in several processes of this machine."""
    config = folder / "resolved.json"
    sections = {"mine": params.model_dump(mode="json"), "encoder": encoder_params.model_dump(mode="json")}
    write_json(
        config, {**sections, "store_gigabytes": store_gigabytes, "folder": str(folder.absolute()), "names": names}
    )
    work = Work(
        name="mining",
        function="codiemb_pipeline.mine.run:mine_share",
        config=config,
        folder=folder,
        to_lower="mine.tokens_per_chunk, mine.block_queries or mine.block_documents",
        kept="finished embeddings are kept; the next run resumes from them",
    )

    def count() -> tuple[int, int]:
        counts = [finished_blocks(folder / name) for name in names]
        return sum(done for done, _ in counts), sum(total for _, total in counts)

    run_here(processes, work, Jobs(count, "blocks"), lock)
