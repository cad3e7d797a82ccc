"""All tensors of a backbone come from its folder: none is missing, left over, of another shape, or not finite."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_architectures import MAKERS, make_bert

from codiemb_pipeline.encoder.backbone import load_backbone
from codiemb_pipeline.encoder.checkpoint import load_encoder, save_encoder
from codiemb_pipeline.errors import InputError

Tensors = dict[str, torch.Tensor]
QUERY = {"bert": "encoder.layer.1.attention.self.query.weight", "xlm-r": "encoder.layer.1.attention.self.query.weight"}
LATENT = {"youtu": "layers.1.self_attn.q_b_proj.weight"}
KINDS = ["bert", "xlm-r", "llama", "qwen3", "granite", "minicpm", "youtu"]
PREFIXES = {"bert": "bert.", "xlm-r": "roberta.", "llama": "model.", "qwen3": "model.", "minicpm": "model."}


def make(kind: str, folder: Path) -> Path:
    if kind != "granite":
        return MAKERS[kind](folder)
    from transformers import AutoModel

    from codiemb_pipeline.encoder.native import native_config

    hub = MAKERS["minicpm"](folder / "hub")
    AutoModel.from_pretrained(hub, config=native_config(hub)).save_pretrained(folder)
    return folder


def rewrite(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    """Replace the tensors of a folder, as one file."""
    tensors: Tensors = {}
    for file in [*folder.glob("*.safetensors"), *folder.glob("*.index.json")]:
        tensors |= load_file(file) if file.suffix == ".safetensors" else {}
        file.unlink()
    save_file(change(tensors), folder / "model.safetensors", metadata={"format": "pt"})


def renamed(tensors: Tensors, old: str, new: str) -> Tensors:
    return {new if name == old else name: tensor for name, tensor in tensors.items()}


FAULTS: dict[str, tuple[Callable[[Tensors, str], Tensors], str]] = {
    "missing": (lambda tensors, name: {key: x for key, x in tensors.items() if key != name}, "1 missing (NAME)"),
    "renamed": (lambda tensors, name: renamed(tensors, name, f"{name}s"), "1 missing (NAME); 1 unexpected (NAMEs)"),
    "reshaped": (lambda tensors, name: {**tensors, name: tensors[name][:-1].clone()}, "1 of another shape (NAME ("),
    "one too many": (lambda tensors, name: {**tensors, f"{name}.q": torch.ones(2)}, "1 unexpected (NAME.q)"),
    "of integers": (
        lambda tensors, name: {**tensors, name: tensors[name].int()},
        "not of 16 to 64 bit floating point (NAME)",
    ),
    "of 8 bits": (
        lambda tensors, name: {**tensors, name: tensors[name].to(torch.float8_e4m3fn)},
        "not of 16 to 64 bit floating point (NAME)",
    ),
    "not finite": (
        lambda tensors, name: {**tensors, name: tensors[name].clone().index_fill_(0, torch.tensor(0), torch.inf)},
        "1 with NaN or infinity (NAME)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_faulty_tensor_is_named_with_the_folder(changed, tmp_path, kind, fault):
    """Transformers would draw the missing ones at random, and say so in a warning at most."""
    folder = make(kind, tmp_path / "model")
    load_backbone(folder, changed())
    name = {**QUERY, **LATENT}.get(kind, "layers.1.self_attn.q_proj.weight")
    change, expected = FAULTS[fault]
    rewrite(folder, lambda tensors: change(tensors, name))
    with pytest.raises(InputError) as caught:
        load_backbone(folder, changed())
    assert expected.replace("NAME", name) in str(caught.value)
    assert str(folder) in str(caught.value)


def test_of_many_faulty_tensors_three_are_named_and_all_counted(changed, tmp_path):
    folder = make("bert", tmp_path)
    rewrite(folder, lambda tensors: {name: x for name, x in tensors.items() if "layer.1." not in name})
    with pytest.raises(InputError, match=r"16 missing \(encoder\.layer\.1\.[^,]*, [^,]*, [^,]*, \.\.\.\)"):
        load_backbone(folder, changed())


@pytest.mark.parametrize("kind", PREFIXES)
def test_a_prefix_of_all_tensors_is_understood_and_one_of_some_is_an_error(changed, tmp_path, kind):
    """As of a model with a head, or of what training wraps around a backbone (the recipe's code saves ``model.``)."""
    folder = make(kind, tmp_path / "model")
    plain = load_backbone(folder, changed()).state_dict()
    heads = {"lm_head.weight": torch.ones(2, 2), "cls.predictions.bias": torch.ones(2)}
    for prefix in (PREFIXES[kind], "model.", "module.", f"module.{PREFIXES[kind]}", "backbone.", "encoder.layer."):
        rewrite(folder, lambda tensors, start=prefix: {**{f"{start}{name}": x for name, x in tensors.items()}, **heads})
        again = load_backbone(folder, changed()).state_dict()
        assert again.keys() == plain.keys()
        assert all(torch.equal(again[name], tensor) for name, tensor in plain.items())
        rewrite(folder, lambda tensors, start=prefix: {n.removeprefix(start): x for n, x in tensors.items()})
    some = sorted(plain)[::2]
    rewrite(folder, lambda tensors: {f"{'another.' * (name in some)}{name}": x for name, x in tensors.items()})
    with pytest.raises(InputError, match=r"missing|no class of transformers fits"):
        load_backbone(folder, changed())


def test_a_pooler_that_a_checkpoint_lacks_is_zero_and_the_same_in_every_process(changed, tmp_path):
    """No embedding comes from it, but it is saved: drawn at random, equal encoders would have other bytes."""
    folder = make_bert(tmp_path / "model")
    rewrite(folder, lambda tensors: {name: x for name, x in tensors.items() if "pooler" not in name})
    for place in ("first", "second"):
        save_encoder(load_encoder(changed(path=str(folder))), tmp_path / place)
    first, second = ((tmp_path / place / "model.safetensors").read_bytes() for place in ("first", "second"))
    assert first == second
    assert not load_file(tmp_path / "first/model.safetensors")["pooler.dense.weight"].any()


def test_buffers_and_heads_of_older_checkpoints_are_no_fault(changed, tmp_path):
    """As sentence-transformers/all-MiniLM-L6-v2 has ``embeddings.position_ids``, and older Llamas their wavelengths."""
    bert, llama = make("bert", tmp_path / "bert"), make("llama", tmp_path / "llama")
    rewrite(bert, lambda tensors: {**tensors, "embeddings.position_ids": torch.arange(128)[None]})
    rewrite(llama, lambda tensors: {**tensors, "layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)})
    for folder in (bert, llama):
        load_backbone(folder, changed())


def test_a_checkpoint_of_torch_s_own_format_is_checked_too(changed, tmp_path):
    """As BAAI/bge-large-zh-v1.5 has it."""
    folder = make("bert", tmp_path)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    load_backbone(folder, changed())
    del tensors["encoder.layer.0.output.dense.bias"]
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"1 missing \(encoder\.layer\.0\.output\.dense\.bias\)"):
        load_backbone(folder, changed())
