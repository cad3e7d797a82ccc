"""Several processes mine what one mines, byte for byte; an interrupted mining resumes; a failure is reported."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mining_inputs import make_params
from tiny_tables import retrieval_tables

from codiemb_pipeline.artifacts.ingest import read_retrieval
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.errors import InputError, PipelineError
from codiemb_pipeline.launch.torchrun import count_processes
from codiemb_pipeline.mine import work_files
from codiemb_pipeline.mine.run import mine_hard_negatives, work_folder
from codiemb_pipeline.mine.work_files import KEYS, Vectors, encode_source, finished_blocks, lay_out
from codiemb_pipeline.params import EncoderParams, MineParams

QUERIES, DOCUMENTS = 40, 3000  # three blocks of texts, and one of queries


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources of random words; both have documents of equal text."""
    draw, words = np.random.default_rng(7), ["red", "old", "dog", "cat", "river", "house", "paper", "music", "the", "a"]
    folder = tmp_path_factory.mktemp("mined") / "sources"
    for name, count in (("many", DOCUMENTS), ("few", 60)):
        texts = [" ".join(draw.choice(words, draw.integers(2, 16))) for _ in range(count)]
        texts[-5:] = texts[:5]
        qrels = [(f"q{query}", f"d{draw.integers(0, count)}", 1) for query in range(QUERIES)]
        queries = [(f"q{query}", " ".join(draw.choice(words, 3)), "train") for query in range(QUERIES)]
        retrieval_tables(queries, [(f"d{row}", "", text) for row, text in enumerate(texts)], qrels).write(folder / name)
    return folder


def params_for(processes: int) -> MineParams:
    sizes = {"rank_to": 20, "block_queries": 16, "block_documents": 256, "tokens_per_chunk": 512}
    return make_params(seed=1, negatives_per_query=5, processes=processes, **sizes)


def mine(processes: int, encoder: EncoderParams, sources: Path, root: Path) -> dict[str, bytes]:
    out = root / "out"
    mine_hard_negatives(params_for(processes), encoder, sources, ["many", "few"], out, root / "work")
    assert [path.suffix for path in (root / "work/mine").iterdir()] == [".lock"], "work in progress was left behind"
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.dist
@pytest.mark.slow
def test_two_processes_write_the_bytes_of_one(tiny_encoder_params, sources, tmp_path):
    one = mine(1, tiny_encoder_params, sources, tmp_path / "one")
    assert sorted(one) == ["audit.json", "few.jsonl", "made_under.json", "many.jsonl"]
    assert json.loads(one["audit.json"])["sources"]["many"]["counts"]["negatives"] > QUERIES
    assert mine(2, tiny_encoder_params, sources, tmp_path / "two") == one


@pytest.mark.dist
@pytest.mark.slow
def test_a_failed_process_is_reported_with_its_log_and_finished_embeddings_are_kept(
    tiny_encoder_params, sources, tmp_path
):
    """The search finds a folder in the place of a file that it writes."""
    work = work_folder(params_for(2), tiny_encoder_params, sources, ["many", "few"], tmp_path / "work")
    (work / "many" / KEYS.format(0)).mkdir(parents=True)
    with pytest.raises(PipelineError, match=r"mining failed: process 0: \w+Error: ") as error:
        mine(2, tiny_encoder_params, sources, tmp_path)
    log = Path(next(line for line in str(error.value).splitlines() if line.startswith("log: ")).removeprefix("log: "))
    assert KEYS.format(0) in log.read_text()
    (kept,) = (path for path in (tmp_path / "work/mine").iterdir() if path.is_dir())
    assert finished_blocks(kept / "many") == (4, 4)


def laid_out(sources: Path, name: str, folder: Path) -> Path:
    lay_out(read_retrieval(sources, name), name, params_for(1), folder)
    return folder


def test_what_is_finished_is_not_encoded_again(tiny_encoder_params, sources, tmp_path, monkeypatch):
    encoder = load_encoder(tiny_encoder_params)
    encode_source(laid_out(sources, "many", tmp_path / "whole"), "many", encoder, params_for(1))
    calls, own, most = [], work_files.encode_block, 2

    def counted(encoder, texts, **options):
        if len(calls) == most:
            raise KeyboardInterrupt
        calls.append(texts[0])
        return own(encoder, texts, **options)

    monkeypatch.setattr(work_files, "encode_block", counted)
    cut = laid_out(sources, "many", tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        encode_source(cut, "many", encoder, params_for(1))
    assert finished_blocks(cut) == (2, 4)
    most = 4
    encode_source(laid_out(sources, "many", cut), "many", encoder, params_for(1))
    assert len(set(calls)) == 4
    assert finished_blocks(cut) == (4, 4)
    for role in ("query", "document"):
        assert Vectors(cut, role)[:].equal(Vectors(tmp_path / "whole", role)[:])


def test_the_vectors_are_those_of_encode_texts_at_length_one(tiny_encoder_params, sources, tmp_path):
    source = read_retrieval(sources, "many")
    encoder = load_encoder(tiny_encoder_params)
    encode_source(laid_out(sources, "many", tmp_path), "many", encoder, params_for(1))
    queries, documents = Vectors(tmp_path, "query"), Vectors(tmp_path, "document")
    plain = encode_texts(encoder, list(source.document_texts()), tokens_per_chunk=512)
    prefixed = encode_texts(encoder, source.queries["text"].tolist(), prefix="query: ", tokens_per_chunk=512)
    assert (documents[:] - plain).abs().max() < 1e-6
    assert (queries[:] - prefixed).abs().max() < 1e-6
    assert documents[:].norm(dim=1).sub(1).abs().max() < 1e-6


def test_processes_are_as_many_as_gpus_or_one(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert count_processes("auto", "mine.processes") == 4
    assert count_processes(2, "mine.processes") == 2
    with pytest.raises(InputError, match=r"mine\.processes: expected at most one process for each GPU \(4\), found 5"):
        count_processes(5, "mine.processes")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert count_processes("auto", "mine.processes") == 1
    assert count_processes(3, "mine.processes") == 3


def test_only_what_changes_the_embeddings_changes_the_work_folder(
    tiny_encoder_params, tiny_encoder_folder, sources, tmp_path
):
    """So that a mining which ran out of memory resumes with smaller blocks or with more or fewer processes."""
    copy = shutil.copytree(tiny_encoder_folder, tmp_path / "encoder")
    encoder = tiny_encoder_params.model_copy(update={"path": str(copy)})

    def folder(**changes) -> Path:
        return work_folder(params_for(1).model_copy(update=changes), encoder, sources, ["few"], tmp_path)

    first = folder()
    assert folder(processes=2, tokens_per_chunk=64, block_queries=3, block_documents=9, rank_to=5) == first
    assert folder(precision="bf16") != first
    with (copy / "tokenizer_config.json").open("a") as file:
        file.write(" ")
    assert folder() != first


def test_a_full_disk_is_an_error_before_a_row_is_written(tiny_encoder_params, sources, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(PipelineError, match=r"query\.npy: expected .* GiB of disk for \d+ embeddings: No space left"):
        mine(1, tiny_encoder_params, sources, tmp_path)


def test_a_block_that_nobody_encoded_is_an_error(tiny_encoder_params, sources, tmp_path, monkeypatch):
    monkeypatch.setattr(work_files.Claims, "take", lambda self, count: iter(range(count - 1)))
    folder = laid_out(sources, "many", tmp_path)
    with pytest.raises(PipelineError, match="1 of 4 blocks of texts were never encoded"):
        encode_source(folder, "many", load_encoder(tiny_encoder_params), params_for(1))
