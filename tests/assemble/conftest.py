"""Tiny sources as ``ingest`` writes them, and hard negatives as ``mine`` does."""

from collections.abc import Callable
from pathlib import Path

import pytest
from audit_texts import AUDIT
from tiny_tables import pair_tables, retrieval_tables

from codiemb_pipeline.encoder.checkpoint import load_tokenizer, weights_digest
from codiemb_pipeline.encoder.compatibility import SETTINGS_FINGERPRINT, settings_fingerprint
from codiemb_pipeline.jsonl import write_json, write_jsonl
from codiemb_pipeline.params import AssembleParams, EncoderParams


@pytest.fixture
def make_params() -> Callable[..., AssembleParams]:
    def make(**changes) -> AssembleParams:
        values = {
            "seed": 49,
            "train_sources": ["animals", "words"],
            "dev_sources": ["animals", "words"],
            "caps": {},
            "max_positives": 8,
            "max_negatives": 8,
            "dev_documents": None,
            "audit": AUDIT,
        }
        return AssembleParams.parse({**values, **changes}, "assemble")

    return make


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Retrieval source ``animals`` (3 training queries, 2 dev) and similarity source ``words`` (4 pairs, 2 dev)."""
    things = ["dog", "cat", "bird", "fish", "house", "paper"]
    corpus = [(f"d{number}", "", f"document {thing}") for number, thing in enumerate(things)]
    queries = [("q0", "dog", "train"), ("q1", "cat", "train"), ("q2", "bird", "train")]
    dev = [("q3", "fish", "dev"), ("q4", "house", "dev"), ("q5", "paper", "test")]
    qrels = [("q0", "d0", 1), ("q0", "d1", 2), ("q1", "d1", 1), ("q2", "d2", 1)]
    held_out = [("q4", "d4", 1), ("q3", "d3", 1), ("q3", "d0", 2), ("q5", "d5", 1)]
    retrieval_tables([*queries, *dev], corpus, [*qrels, *held_out]).write(tmp_path / "sources" / "animals")
    others = ["the a", "the of", "the and", "the old"]
    rows = [(f"p{number}", "red", other, number / 4, "train") for number, other in enumerate(others)]
    held_out_rows = [("p8", "red", "blue", 0.25, "dev"), ("p9", "new", "old", 0.75, "dev")]
    pair_tables([*rows, *held_out_rows]).write(tmp_path / "sources" / "words")
    return tmp_path / "sources"


@pytest.fixture
def hard_negatives(tmp_path: Path, tiny_encoder_params: EncoderParams, tiny_encoder_folder: Path) -> Path:
    rows = {"q0": ["d4", "d5", "d2"], "q1": ["d5", "d3"], "q2": []}
    lines = ({"query_id": query, "negatives": negatives, "scores": []} for query, negatives in rows.items())
    write_jsonl(tmp_path / "hard_negatives" / "animals.jsonl", lines)
    stamp = settings_fingerprint(load_tokenizer(tiny_encoder_params), weights_digest(tiny_encoder_folder))
    write_json(tmp_path / "hard_negatives" / SETTINGS_FINGERPRINT, stamp)
    return tmp_path / "hard_negatives"
