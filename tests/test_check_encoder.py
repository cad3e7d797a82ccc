"""``make check-encoder``: an encoder against the similarities that its authors published."""

import re
from pathlib import Path
from typing import Any

import click
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from tiny_architectures import make_minicpm

from codiemb_pipeline.check_encoder import PUBLISHED, Published, main, similarities
from codiemb_pipeline.encoder.checkpoint import load_encoder
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params import EncoderParams
from codiemb_pipeline.profiles import read_profile

ROOT = Path(__file__).parents[1]


def check(folder: Path, *arguments: str, **encoder: Any) -> Result:
    """Run the command in ``folder``, on the quickstart's parameters with another encoder."""
    values = yaml.safe_load((ROOT / "tests/params.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump(values | {"encoder": values["encoder"] | encoder}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(main, arguments, standalone_mode=False)


def test_the_quickstart_s_real_encoder_gives_what_its_documentation_prints(tmp_path):
    result = check(tmp_path)
    assert result.exception is None
    assert re.search(r"^class +BertModel, 22,713,216 parameters, 6 layers, 384 wide$", result.output, re.MULTILINE)
    (off,) = re.findall(r"off by (\d\.\d+) at most", result.output)
    assert float(off) <= 0.0001
    assert "converted" not in result.output


@pytest.mark.parametrize(("shift", "passes"), [(0.004, True), (0.006, False)])
def test_a_similarity_that_is_off_by_more_than_the_tolerance_fails(tmp_path, monkeypatch, shift, passes):
    """On a converted model; the number is made here, and moved."""
    folder = make_minicpm(tmp_path / "minicpm")
    settings = {"path": str(folder), "bidirectional": True, "pooling": "weighted_mean"}
    prompts = {"template": "{instruction}", "document_prefix": "", "in_pooling": True, "instructions": {}}
    values = yaml.safe_load((ROOT / "tests/params.yaml").read_text())["encoder"]
    encoder = load_encoder(EncoderParams.parse({**values, **settings, "prompts": prompts}, "encoder"))
    query, document = (encode_texts(encoder, [text], tokens_per_chunk=99)[0] for text in ("Query: 你好", "the dog"))
    one = Published(
        source="a card",
        pooling="weighted_mean",
        prompt="Query: ",
        queries=("你好",),
        documents=("the dog",),
        scores=((float(query @ document) + shift,),),
    )
    monkeypatch.setitem(PUBLISHED, "BAAI/bge-m3", one)
    result = check(tmp_path, "--model", "BAAI/bge-m3", **settings, append_eos=True)  # as training may have it
    if passes:
        assert result.exception is None
        assert "converted  embedding_multiplier 12.0" in result.output
        assert "GraniteModel" in result.output
        assert "scale_depth" in result.output
    else:
        assert isinstance(result.exception, InputError)
        assert "a card" in str(result.exception)
        assert "0.006" in str(result.exception)


def test_an_encoder_without_published_scores_is_described_and_passes(tmp_path, tiny_encoder_folder):
    result = check(tmp_path, path=str(tiny_encoder_folder), max_length=32)
    assert result.exception is None
    assert "no similarities known" in result.output
    assert isinstance(check(tmp_path, "--model", "BAAI/no-such").exception, click.BadParameter)


def test_prompts_that_do_not_count_leave_out_the_first_token_of_documents_too(tiny_encoder_params):
    """As Youtu-Embedding's README masks as many tokens as the tokenizer gives for the prompt, and for an empty one."""
    encoder = load_encoder(tiny_encoder_params)
    one = Published(source="", pooling="mean", prompt="", queries=("dog",), documents=("cat",), scores=())
    for counts, first in ((True, 0), (False, 2)):  # [CLS] and [SEP]
        states = [
            encoder.model.backbone(torch.tensor([encoder.tokenize([text])[0][0]]))
            .last_hidden_state[0, first:]
            .mean(dim=0)
            for text in ("dog", "cat")
        ]
        expected = torch.cosine_similarity(*states, dim=0)
        found = similarities(encoder, one.model_copy(update={"prompt_counts": counts}))
        torch.testing.assert_close(found[0, 0], expected.detach(), atol=1e-6, rtol=0)


PROFILES = {"bge-m3", "e5-large-instruct", "minicpm", "quickstart", "qwen3-embedding-0.6b", "youtu"}


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_published_scores_are_those_of_a_profile_s_encoder(name):
    encoder = read_profile(name, ROOT)["encoder"]
    published = PUBLISHED[encoder["path"]]
    assert published.pooling == encoder["pooling"]
    assert torch.tensor(published.scores).shape == (len(published.queries), len(published.documents))
    assert not encoder["append_eos"] or name == "minicpm"  # the recipe's, not the model card's
