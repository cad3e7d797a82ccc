"""The model card of a trained encoder."""

import pytest
from huggingface_hub import ModelCard

from codiemb_pipeline.artifacts.assemble import Manifest, TrainCounts
from codiemb_pipeline.artifacts.base import SourceOrigin
from codiemb_pipeline.encoder.model_card import write_model_card

COUNTS = {"texts": 1, "tokens": 1, "texts_at_max_length": 0}
OCNLI = SourceOrigin(repository="clue/clue", revision="1" * 40, licence="CC BY-NC 2.0 (non-commercial)")
QBQTC = SourceOrigin(repository="github.com/CLUEbenchmark/QBQTC", revision=None, licence="none stated")


@pytest.mark.parametrize(
    ("base", "licence"), [("BAAI/bge-m3", "mit"), ("data/models/own", "its own card"), ("a/b", "its own card")]
)
def test_a_card_names_base_sources_and_licences(tmp_path, tiny_encoder_params, base, licence):
    source = {**COUNTS, "task": "sts", "examples": 1234, "positives": 0, "negatives": 0, "dropped": {}}
    origins = {"ocnli": (OCNLI,), "qbqtc": (QBQTC,), "own": ()}
    train = {name: TrainCounts(**source, origins=of) for name, of in origins.items()}
    manifest = Manifest(**COUNTS, train=train, dev={}, max_length=8, prompts="")
    write_model_card(tmp_path, tiny_encoder_params.model_copy(update={"path": base}), manifest)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.base_model == (None if "own" in base else base)
    assert card.data.datasets == ["clue/clue"]
    (line,) = (line for line in card.text.splitlines() if line.startswith("Base: "))
    assert base in line
    assert licence in line
    rows = {line.split(" | ")[0]: line for line in card.text.splitlines() if line.startswith("| ")}
    assert rows["| ocnli"] == f"| ocnli | sts | 1,234 | clue/clue | {'1' * 40} | CC BY-NC 2.0 (non-commercial) |"
    assert "not known" in rows["| qbqtc"]
    assert "not known" in rows["| own"]
