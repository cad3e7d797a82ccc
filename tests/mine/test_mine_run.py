"""The stage from tables on disk to files on disk, with a tiny random encoder."""

from pathlib import Path

import pytest
import torch
from mining_inputs import make_params
from tiny_tables import pair_tables, retrieval_tables

from codiemb_pipeline.encoder.checkpoint import load_encoder, load_tokenizer, weights_digest
from codiemb_pipeline.encoder.compatibility import settings_fingerprint
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.jsonl import read_json, read_jsonl
from codiemb_pipeline.mine.run import mine_hard_negatives
from codiemb_pipeline.params import EncoderParams, MineParams

THINGS = ["dog", "cat", "bird", "fish", "river", "mountain", "house", "paper"]


@pytest.fixture
def params() -> MineParams:
    sizes = {"negatives_per_query": 3, "rank_to": 6, "block_queries": 3, "block_documents": 5, "tokens_per_chunk": 64}
    return make_params(seed=1, **sizes)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    corpus = [(f"{colour} {thing}", colour, f"the {thing}") for thing in THINGS for colour in ("red", "blue")]
    queries = [(thing, f"a {thing}", "train" if number < 6 else "dev") for number, thing in enumerate(THINGS)]
    qrels = [(thing, f"{colour} {thing}", 1) for thing in THINGS for colour in ("red", "blue")]
    folder = tmp_path / "sources"
    retrieval_tables(queries, corpus, qrels, [("cat", "red paper")]).write(folder / "things")
    retrieval_tables([("q", "a dog", "test")], corpus, []).write(folder / "untrained")
    pair_tables([("p", "a", "b", 0.5, "train")]).write(folder / "pairs")
    return folder


def test_every_training_query_gets_a_row_in_order_and_no_positive(tiny_encoder_params, params, sources, tmp_path):
    mine_hard_negatives(params, tiny_encoder_params, sources, ["things"], tmp_path / "out", tmp_path / "work")
    rows = list(read_jsonl(tmp_path / "out" / "things.jsonl"))
    assert [row["query_id"] for row in rows] == THINGS[:6]
    for row in rows:
        assert len(row["negatives"]) == len(row["scores"]) == len(set(row["negatives"])) == 3
        assert not {f"red {row['query_id']}", f"blue {row['query_id']}"} & set(row["negatives"])
        assert all(score == round(score, 6) for score in row["scores"])
    assert rows[1]["negatives"][0] == "red paper"
    audit = read_json(tmp_path / "out" / "audit.json")["sources"]["things"]
    assert audit["counts"]["queries"] == 6
    assert audit["counts"]["negatives"] == 18
    assert audit["named"]["kept"] == 1
    assert len(audit["samples"]) == 2


def test_two_runs_write_the_same_bytes_and_what_they_depend_on(
    tiny_encoder_params, tiny_encoder_folder, params, sources, tmp_path
):
    for run in ("first", "second"):
        mine_hard_negatives(params, tiny_encoder_params, sources, ["things"], tmp_path / run, tmp_path / "work")
    files = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert files == ["audit.json", "made_under.json", "things.jsonl"]
    for name in files:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    settings = settings_fingerprint(load_tokenizer(tiny_encoder_params), weights_digest(tiny_encoder_folder))
    assert read_json(tmp_path / "first" / "made_under.json") == settings


def test_no_sources_leave_an_empty_audit(tiny_encoder_params, params, sources, tmp_path):
    mine_hard_negatives(params, tiny_encoder_params, sources, [], tmp_path / "out", tmp_path / "work")
    assert read_json(tmp_path / "out" / "audit.json") == {"sources": {}}
    assert not (tmp_path / "out" / "made_under.json").exists()


def test_mining_compares_the_dimensions_that_are_asked_for(tiny_encoder_params, params, sources, tmp_path):
    """Scores are cosines of the cut vectors: the cosine of a query and its first negative, from the encoder itself."""
    cut = EncoderParams.parse({**tiny_encoder_params.model_dump(), "dimensions": 3}, "encoder")
    mine_hard_negatives(params, cut, sources, ["things"], tmp_path / "out", tmp_path / "work")
    row = next(read_jsonl(tmp_path / "out" / "things.jsonl"))
    colour, thing = row["negatives"][0].split()
    encoder = load_encoder(tiny_encoder_params)
    query = encode_texts(encoder, ["a dog"], prefix="query: ", tokens_per_chunk=64)[0, :3]
    document = encode_texts(encoder, [f"{colour} the {thing}"], tokens_per_chunk=64)[0, :3]
    assert row["scores"][0] == pytest.approx(torch.cosine_similarity(query, document, dim=0).item(), abs=1e-5)


def test_bfloat16_finds_nearly_the_same_cosines(tiny_encoder_params, params, sources, tmp_path):
    scores = []
    for precision in ("fp32", "bf16"):
        changed, out = params.model_copy(update={"precision": precision}), tmp_path / precision
        mine_hard_negatives(changed, tiny_encoder_params, sources, ["things"], out, tmp_path / "work")
        scores.append([score for row in read_jsonl(out / "things.jsonl") for score in row["scores"]])
    assert scores[0] != scores[1]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)


@pytest.mark.parametrize("name", ["pairs", "nothing", "untrained"])
def test_a_source_that_cannot_be_mined_is_named_before_any_is_encoded(
    name, tiny_encoder_params, params, sources, tmp_path
):
    with pytest.raises(InputError, match=f"source '{name}'"):
        mine_hard_negatives(params, tiny_encoder_params, sources, ["things", name], tmp_path / "out", tmp_path / "work")
    assert not (tmp_path / "out" / "things.jsonl").exists()
