"""An exported folder behind mteb's own wrapper of sentence-transformers: every text gets the prefix that ours gives."""

from pathlib import Path
from typing import Any

import mteb
import numpy as np
import pytest
from mteb_by_hand import task_at

from codiemb_pipeline.encoder.checkpoint import load_encoder, save_encoder
from codiemb_pipeline.evaluate.mteb_encoder import MtebEncoder
from codiemb_pipeline.params import EncoderParams

OWN = {"DuRetrieval": "river document", "STSB": "old music", "CovidRetrieval": "", "a-source": "cat"}
NAMES = ("DuRetrieval", "EcomRetrieval", "CovidRetrieval", "STSB", "BQ")
"""Of each type one with an instruction of its own and one without; and one whose own is none."""


@pytest.fixture(scope="module")
def params(tiny_encoder_params: EncoderParams) -> EncoderParams:
    values = tiny_encoder_params.model_dump()
    values["prompts"]["instructions"] = {"ir": "query of paper", "sts": "house", **OWN}
    values["prompts"]["document_prefix"] = "big bird: "
    return EncoderParams.parse(values, "encoder")


@pytest.fixture(scope="module")
def exported(params: EncoderParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folder") / "encoder"
    save_encoder(load_encoder(params), folder)
    return folder


def judge(model: Any, name: str, hub: Path) -> tuple[float, list[tuple[Any, np.ndarray]]]:
    """Return mteb's main score, and prompt type and vectors of every call that encodes."""
    calls, encode = [], model.encode

    def spy(*arguments: Any, **options: Any) -> Any:
        vectors = encode(*arguments, **options)
        calls.append((options.get("prompt_type"), np.asarray(vectors)))
        return vectors

    model.encode = spy
    found = mteb.evaluate(model, task_at(name, hub), cache=None, show_progress_bar=False, co2_tracker=False)
    model.encode = encode
    return found.task_results[0].get_score(), calls


@pytest.mark.filterwarnings("ignore:.*a-source.*:UserWarning", "ignore:.*sts.*:UserWarning")
def test_mteb_gives_an_exported_folder_the_prefixes_that_ours_has(root, params, exported):
    from mteb.models import SentenceTransformerEncoderWrapper
    from sentence_transformers import SentenceTransformer

    ours = MtebEncoder("ours", exported, params, revision="1", tokens_per_chunk=512)
    theirs = SentenceTransformerEncoderWrapper(SentenceTransformer(str(exported), device="cpu"))
    for name in NAMES:
        (score, vectors), (their_score, their_vectors) = (judge(model, name, root / "hub") for model in (ours, theirs))
        assert [kind for kind, _ in vectors] == [kind for kind, _ in their_vectors]
        for (kind, expected), (_, found) in zip(vectors, their_vectors, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=f"{name}, prompt type {kind}")
        assert their_score == pytest.approx(score, abs=1e-6)


def test_the_prefixes_of_this_test_tell_queries_documents_and_benchmarks_apart(params):
    """Or the test above would see nothing."""
    prompts = load_encoder(params).prompts
    prefixes = {prompts.prefix("ir", "query", name) for name in NAMES[:3]}
    prefixes |= {prompts.prefix("ir", "document", "DuRetrieval")}
    prefixes |= {prompts.prefix("sts", "query", name) for name in NAMES[3:]}
    assert prefixes == {"river document: ", "query of paper: ", "", "big bird: ", "old music: ", "house: "}
