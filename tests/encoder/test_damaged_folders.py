"""A damaged encoder folder is one InputError that names it, for whoever opens it; never other states, never code run.

The oracle of silent acceptance: who does not refuse a folder must find the states, token ids or tensors of the
undamaged one.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from damaged_folders import (
    DAMAGES,
    ENCODER,
    FIRST,
    MERGE,
    RAN,
    TOKENIZER,
    content,
    dense,
    listed,
    sentence_transformers,
    values,
    without,
)
from tiny_architectures import make_bert, make_minicpm, make_qwen3, make_xlmr, make_youtu
from transformers import AutoModel, T5Config, ViTConfig

from codiemb_pipeline.encoder.checkpoint import load_encoder, load_tokenizer, save_encoder, weights_digest
from codiemb_pipeline.encoder.encode import encode_texts
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.merge.aligned_tensors import AlignedTensors
from codiemb_pipeline.params import EncoderParams

TEXTS = ["the red dog", "学生看医生", "a  bird\nof the RIVER"]
MAKERS: dict[str, Callable[[Path], Path]] = {
    "bert": make_bert,
    "xlm-r": make_xlmr,
    "qwen3": make_qwen3,
    "granite": make_minicpm,
    "youtu": make_youtu,
}


def embeddings(params: EncoderParams, folder: Path) -> list:
    return encode_texts(load_encoder(params, folder), TEXTS, tokens_per_chunk=64).tolist()


def token_ids(params: EncoderParams, folder: Path) -> list:
    return load_tokenizer(params, folder).tokenize(TEXTS)[0]


@pytest.fixture(scope="module")
def originals(changed, tmp_path_factory) -> dict[str, Path]:
    """A folder of each architecture: weights, config.json and tokenizer.json, as transformers saves them."""
    root, folders = tmp_path_factory.mktemp("originals"), {}
    for kind, make in MAKERS.items():
        folder = folders[kind] = root / kind
        encoder = load_encoder(changed(), make(root / "made" / kind))
        encoder.model.backbone.save_pretrained(folder)
        encoder.tokenizer.backend.save_pretrained(folder)
    return folders


@pytest.fixture(scope="module")
def expected(changed, originals) -> dict[tuple[str, str], list]:
    """What each reader finds in the undamaged folders."""
    readers = {ENCODER: embeddings, TOKENIZER: token_ids}
    return {(kind, who): read(changed(), originals[kind]) for kind in originals for who, read in readers.items()}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_folder_is_refused_by_name(changed, originals, expected, tmp_path, monkeypatch, kind, name):
    monkeypatch.chdir(tmp_path)
    folder, damage = shutil.copytree(originals[kind], tmp_path / "damaged"), DAMAGES[name]
    damage.do(folder)

    def merged(params: EncoderParams, folder: Path) -> list:
        for _, _, deltas in AlignedTensors(originals[kind], {"damaged": folder}).walk():
            assert not deltas.any()
        return []

    for who, read in {ENCODER: embeddings, TOKENIZER: token_ids, MERGE: merged}.items():
        try:
            found, said = read(changed(), folder), None
        except InputError as error:
            found, said = None, str(error)
        if said is None:
            assert who not in damage.refused_by, f"{who} accepts it"
            assert found == expected.get((kind, who), found)
        else:
            assert str(folder) in said
            assert len(said.splitlines()) == 1
            assert len(said) < 900
    assert not Path(RAN).exists(), "a pickle's code was run"


def test_a_file_or_an_empty_folder_is_refused(changed, tmp_path):
    (tmp_path / "file").write_bytes(b"weights")
    (tmp_path / "empty").mkdir()
    for name in ("file", "empty"):
        for load in (load_encoder, load_tokenizer):
            with pytest.raises(InputError, match=str(tmp_path / name)):
                load(changed(), tmp_path / name)


@pytest.mark.parametrize("kind", ["t5", "vit"])
def test_a_model_that_makes_no_states_of_token_ids_is_refused(changed, originals, tmp_path, kind):
    """It would be found out at the first text."""
    folder = shutil.copytree(originals["bert"], tmp_path / "folder")
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = {
        "t5": T5Config(vocab_size=268, d_model=16, d_ff=32, num_layers=1, num_heads=2, d_kv=8),
        "vit": ViTConfig(hidden_size=16, image_size=32, patch_size=16, **sizes),
    }[kind]
    AutoModel.from_config(config).save_pretrained(folder)
    with pytest.raises(InputError, match=str(folder)):
        load_encoder(changed(), folder)


@pytest.mark.parametrize("kept", [0, 0.5])
def test_a_list_of_merges_is_read_whole(changed, originals, expected, tmp_path, kept):
    folder = shutil.copytree(originals["qwen3"], tmp_path / "folder")
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    without("tokenizer.json", "tokenizer_config.json")(folder)
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"])]
    (folder / "merges.txt").write_text("\n".join(merges))
    assert token_ids(changed(), folder)[0][:3] == expected["qwen3", TOKENIZER][0][:3]
    (folder / "merges.txt").write_text("\n".join(merges[: int(kept * len(merges))]))
    with pytest.raises(InputError, match=r"merges\.txt: expected about \d+ merges"):
        load_tokenizer(changed(), folder)


@pytest.mark.parametrize(("kind", "positions"), [("bert", 128), ("xlm-r", 128), ("qwen3", 128)])
def test_a_text_may_be_as_long_as_the_model_has_positions_and_no_longer(changed, originals, kind, positions):
    """RoBERTa's kind has 130 rows and begins behind that of padding: the first long text was an IndexError."""
    encoder = load_encoder(changed(max_length=positions), originals[kind])
    assert encode_texts(encoder, ["dog " * 200], tokens_per_chunk=positions).isfinite().all()
    for load in (load_encoder, load_tokenizer):
        with pytest.raises(InputError, match=rf"encoder\.max_length: .*at most {positions}.*found {positions + 1}"):
            load(changed(max_length=positions + 1), originals[kind])


def test_rope_of_a_model_s_own_code_has_no_last_position_and_the_saved_folder_says_so(changed, tmp_path):
    """The recipe trains MiniCPM, whose configuration has 512 positions, on 1024 tokens."""
    params = changed(max_length=200)
    save_encoder(load_encoder(params, make_minicpm(tmp_path / "hub")), tmp_path / "saved")
    encoder = load_encoder(params, tmp_path / "saved")
    assert encode_texts(encoder, ["dog " * 300], tokens_per_chunk=200).isfinite().all()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (sentence_transformers(files=content("1_Pooling/config.json", b'{"pooling_mode_cls_token": true}')), "cls"),
        (sentence_transformers(files=content("1_Pooling/config.json", b'{"pooling_mode": "lasttoken"}')), "last"),
        (sentence_transformers(files=values("1_Pooling/config.json", include_prompt=False)), "in_pooling"),
        (sentence_transformers(files=content("sentence_bert_config.json", b'{"max_seq_length": 16}')), "16 tokens"),
        (
            sentence_transformers(
                files=content("config_sentence_transformers.json", b'{"prompts": {"query": "q: ", "document": ""}}')
            ),
            "q: ",
        ),
        (sentence_transformers(), None),
        (sentence_transformers(("Normalize", "2_Normalize")), None),
        (sentence_transformers(files=content("sentence_bert_config.json", b'{"max_seq_length": 99}')), None),
        (listed(*FIRST, prefix="sentence_transformers.sentence_transformer.modules."), None),
    ],
)
def test_what_is_the_user_s_choice_is_said_once_and_no_more(changed, originals, tmp_path, caplog, files, said):
    folder = shutil.copytree(originals["xlm-r"], tmp_path / "folder")
    files(folder)
    for _ in range(2):
        load_encoder(changed(), folder)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("codiemb_pipeline")]
    assert len(lines) == bool(said)
    assert not said or (said in lines[0] and str(folder) in lines[0])


def test_the_transformer_inside_a_folder_with_a_dense_layer_is_refused(changed, originals, tmp_path):
    shutil.copytree(originals["bert"], tmp_path / "0_Transformer")
    modules = ("Transformer", "0_Transformer"), ("Pooling", "1_Pooling")
    listed(*modules)(tmp_path)
    load_tokenizer(changed(), tmp_path / "0_Transformer")
    listed(*modules, ("Dense", "2_Dense"))(tmp_path)
    with pytest.raises(InputError, match=r"0_Transformer: expected an encoder folder"):
        load_tokenizer(changed(), tmp_path / "0_Transformer")


def test_texts_that_a_folder_puts_into_lower_case_need_a_tokenizer_that_does(changed, originals, tmp_path):
    """The tiny BERT's tokenizer does, that of XLM-R does not."""
    for kind in ("bert", "xlm-r"):
        folder = shutil.copytree(originals[kind], tmp_path / kind)
        sentence_transformers(files=content("sentence_bert_config.json", b'{"do_lower_case": true}'))(folder)
    load_tokenizer(changed(), tmp_path / "bert")
    with pytest.raises(InputError, match=r"xlm-r/sentence_bert_config\.json: do_lower_case"):
        load_tokenizer(changed(), tmp_path / "xlm-r")


@pytest.mark.parametrize("path", ["2_Dense", "2_Dense_256"])
@pytest.mark.parametrize("pickle", [False, True])
def test_a_dense_layer_that_the_settings_have_is_loaded(changed, originals, tmp_path, path, pickle):
    folder = shutil.copytree(originals["bert"], tmp_path / "folder")
    sentence_transformers(("Dense", path), files=dense(path, weights=not pickle))(folder)
    if pickle:
        layer = {"linear.weight": torch.ones(6, 32), "linear.bias": torch.ones(6)}
        torch.save(layer, folder / path / "pytorch_model.bin")
    encoder = load_encoder(changed(projection={"dimensions": 6, "seed": 1}), folder)
    assert (encoder.model.projection.weight == 1).all()
    before = weights_digest(folder)
    torch.save({"linear.weight": torch.zeros(6, 32), "linear.bias": torch.ones(6)}, folder / path / "pytorch_model.bin")
    assert weights_digest(folder) != before
    with pytest.raises(InputError, match=r"encoder\.projection.*dimensions: 6"):
        load_encoder(changed(projection={"dimensions": 5, "seed": 1}), folder)


def test_a_dense_layer_of_numbers_that_are_not_finite_is_refused(changed, originals, tmp_path):
    folder = shutil.copytree(originals["bert"], tmp_path / "folder")
    sentence_transformers(("Dense", "2_Dense"), files=dense(weights=False))(folder)
    layer = {"linear.weight": torch.full((6, 32), torch.nan), "linear.bias": torch.ones(6)}
    torch.save(layer, folder / "2_Dense/pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model\.bin: tensor 'linear\.weight': expected finite"):
        load_encoder(changed(projection={"dimensions": 6, "seed": 1}), folder)
