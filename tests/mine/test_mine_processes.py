"""Several processes mine what one mines, byte for byte; what is interrupted goes on; a failure is told."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from codiemb_pipeline.artifacts.ingest import read_retrieval
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.errors import InputError, PipelineError
from codiemb_pipeline.launch.torchrun import count_processes
from codiemb_pipeline.mine import run, work_files
from codiemb_pipeline.mine.run import mine_hard_negatives
from codiemb_pipeline.mine.work_files import encode_source, finished_blocks, lay_out, read_vectors
from codiemb_pipeline.params import EncoderParams, MineParams

QUERIES, DOCUMENTS = 40, 3000  # three blocks of texts, and one of queries


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources of random words; one has documents of equal text."""
    import pandas as pd

    from codiemb_pipeline.artifacts.ingest import RetrievalTables

    draw, words = np.random.default_rng(7), ["red", "old", "dog", "cat", "river", "house", "paper", "music", "the", "a"]
    folder = tmp_path_factory.mktemp("mined") / "sources"
    for name, count in (("many", DOCUMENTS), ("few", 60)):
        texts = [" ".join(draw.choice(words, draw.integers(2, 16))) for _ in range(count)]
        texts[-5:] = texts[:5]
        documents = [(f"d{row}", "", text) for row, text in enumerate(texts)]
        relevant = [(f"q{query}", f"d{draw.integers(0, count)}", 1) for query in range(QUERIES)]
        RetrievalTables(
            pd.DataFrame(
                [(f"q{query}", " ".join(draw.choice(words, 3)), "train") for query in range(QUERIES)],
                columns=["query_id", "text", "split"],
            ),
            pd.DataFrame(documents, columns=["doc_id", "title", "text"]),
            pd.DataFrame(relevant, columns=["query_id", "doc_id", "relevance"]),
            pd.DataFrame([], columns=["query_id", "doc_id"], dtype=str),
        ).write(folder / name)
    return folder


def make_params(processes: int) -> MineParams:
    values = {"seed": 1, "negatives_per_query": 5, "rank_from": 1, "rank_to": 20, "absolute_margin": None}
    values |= {"relative_margin": None, "block_queries": 16, "block_documents": 256, "tokens_per_chunk": 512}
    return MineParams.parse({**values, "audit_samples": 3, "precision": "fp32", "processes": processes}, "mine")


def mine(processes: int, encoder: EncoderParams, sources: Path, root: Path) -> dict[str, bytes]:
    out = root / "out"
    mine_hard_negatives(make_params(processes), encoder, sources, ["many", "few"], out, root / "work")
    assert [path.suffix for path in (root / "work/mine").iterdir()] == [".lock"], "work in progress was left behind"
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_write_the_bytes_of_one(processes, tiny_encoder_params, sources, tmp_path):
    one = mine(1, tiny_encoder_params, sources, tmp_path / "one")
    assert sorted(one) == ["audit.json", "few.jsonl", "made_under.json", "many.jsonl"]
    assert json.loads(one["audit.json"])["sources"]["many"]["counts"]["negatives"] > QUERIES
    assert mine(processes, tiny_encoder_params, sources, tmp_path / "several") == one


@pytest.mark.dist
@pytest.mark.slow
def test_a_process_that_fails_is_told_with_its_log_and_what_was_encoded_is_kept(
    tiny_encoder_params, tiny_encoder_folder, sources, tmp_path
):
    broken = shutil.copytree(tiny_encoder_folder, tmp_path / "broken")
    weights = {name: tensor * float("nan") for name, tensor in load_file(broken / "model.safetensors").items()}
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    encoder = tiny_encoder_params.model_copy(update={"path": str(broken)})
    with pytest.raises(PipelineError, match=r"mining failed: process \d: ValueError: a similarity is NaN") as told:
        mine(2, encoder, sources, tmp_path)
    log = Path(next(line for line in str(told.value).splitlines() if line.startswith("log: ")).removeprefix("log: "))
    assert "ValueError" in log.read_text()
    (kept,) = (path for path in (tmp_path / "work/mine").iterdir() if path.is_dir())
    assert finished_blocks(kept / "many") == (4, 4)


def laid_out(sources: Path, name: str, folder: Path) -> Path:
    lay_out(read_retrieval(sources, name), name, make_params(1), folder)
    return folder


def test_what_is_finished_is_not_encoded_again(tiny_encoder_params, sources, tmp_path, monkeypatch):
    encoder = load_encoder(tiny_encoder_params)
    encode_source(laid_out(sources, "many", tmp_path / "whole"), "many", encoder, make_params(1))
    calls, own, most = [], work_files.encode_block, 2

    def counted(encoder, texts, **options):
        if len(calls) == most:
            raise KeyboardInterrupt
        calls.append(texts[0])
        return own(encoder, texts, **options)

    monkeypatch.setattr(work_files, "encode_block", counted)
    cut = laid_out(sources, "many", tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        encode_source(cut, "many", encoder, make_params(1))
    assert finished_blocks(cut) == (2, 4)
    most = 4
    encode_source(laid_out(sources, "many", cut), "many", encoder, make_params(1))
    assert len(set(calls)) == 4
    assert finished_blocks(cut) == (4, 4)
    for one, other in zip(read_vectors(cut), read_vectors(tmp_path / "whole"), strict=True):
        assert one[:].equal(other[:])


def test_the_vectors_are_those_of_encode_texts_at_length_one(tiny_encoder_params, sources, tmp_path):
    source = read_retrieval(sources, "many")
    encoder = load_encoder(tiny_encoder_params)
    encode_source(laid_out(sources, "many", tmp_path), "many", encoder, make_params(1))
    queries, documents = read_vectors(tmp_path)
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


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"processes": 2, "tokens_per_chunk": 64, "block_queries": 3, "block_documents": 9, "rank_to": 5}, True),
        ({"precision": "bf16"}, False),
    ],
)
def test_what_is_encoded_serves_whatever_does_not_change_the_vectors(
    change, same, tiny_encoder_params, sources, tmp_path, monkeypatch
):
    """So that a mining which ran out of memory goes on with less at a time, and with more or fewer processes."""
    found = []
    monkeypatch.setattr(run, "search_all", lambda *_: None)
    monkeypatch.setattr(run, "run_here", lambda *_: None)
    for params in (make_params(1), make_params(1).model_copy(update=change)):
        with run.prepared(params, tiny_encoder_params, sources, ["few"], tmp_path) as folder:
            found.append(folder)
    assert (found[0] == found[1]) is same


def test_another_tokenizer_is_another_mining(tiny_encoder_params, tiny_encoder_folder, sources, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "search_all", lambda *_: None)
    copy = shutil.copytree(tiny_encoder_folder, tmp_path / "encoder")
    encoder, found = tiny_encoder_params.model_copy(update={"path": str(copy)}), []
    for _ in range(2):
        with run.prepared(make_params(1), encoder, sources, ["few"], tmp_path) as folder:
            found.append(folder)
        with (copy / "tokenizer_config.json").open("a") as file:
            file.write(" ")
    assert found[0] != found[1]


def test_a_full_disk_is_told_before_a_row_is_written(tiny_encoder_params, sources, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(PipelineError, match=r"query\.npy: expected .* GiB of disk for \d+ embeddings: No space left"):
        mine(1, tiny_encoder_params, sources, tmp_path)


def test_a_block_that_nobody_encoded_is_an_error(tiny_encoder_params, sources, tmp_path, monkeypatch):
    monkeypatch.setattr(work_files.Claims, "take", lambda self, count: iter(range(count - 1)))
    folder = laid_out(sources, "many", tmp_path)
    with pytest.raises(PipelineError, match="1 of 4 blocks of texts were never encoded"):
        encode_source(folder, "many", load_encoder(tiny_encoder_params), make_params(1))
