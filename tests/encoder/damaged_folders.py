"""Encoder folders as people have them: every way to damage one, by name.

``ENCODER``, ``TOKENIZER`` and ``MERGE`` name who must refuse the folder.
"""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

ENCODER, TOKENIZER, MERGE = "encoder", "tokenizer", "merge"
WEIGHTS, INDEX, CONFIG, TOKENS = "model.safetensors", "model.safetensors.index.json", "config.json", "tokenizer.json"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 437985387\n"
RAN = "code-was-run"

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Damage:
    """What is done to a folder, and who must refuse it."""

    do: Callable[[Path], object]
    refused_by: frozenset[str]


class _Runs:
    """A pickle that writes a file when it is loaded carelessly."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (f"open({RAN!r}, 'w').close()",))


def tensors(change: Callable[[Tensors], Tensors]) -> Callable[[Path], None]:
    """Return a damage to the tensors of the one weight file."""

    def do(folder: Path) -> None:
        changed = change(load_file(folder / WEIGHTS))
        save_file({name: x.contiguous() for name, x in changed.items()}, folder / WEIGHTS, {"format": "pt"})

    return do


def one(change: Callable[[str, torch.Tensor], Tensors]) -> Callable[[Path], None]:
    """Return a damage to one matrix of a layer."""

    def do(all_tensors: Tensors) -> Tensors:
        name = sorted(name for name, x in all_tensors.items() if "layer" in name and x.ndim == 2)[0]
        return {key: x for key, x in all_tensors.items() if key != name} | change(name, all_tensors[name])

    return tensors(do)


def values(file: str, **changes: Any) -> Callable[[Path], None]:
    """Return a damage to the values of a JSON file; ``...`` removes one."""

    def do(folder: Path) -> None:
        content = json.loads((folder / file).read_text()) | changes
        (folder / file).write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))

    return do


def scaled(key: str, by: float) -> Callable[[Path], None]:
    """Return a damage to a number of config.json."""

    def do(folder: Path) -> None:
        values(CONFIG, **{key: int(json.loads((folder / CONFIG).read_text())[key] * by)})(folder)

    return do


def content(file: str, new: bytes | Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Return a damage to the bytes of a file."""

    def do(folder: Path) -> None:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(new if isinstance(new, bytes) else new((folder / file).read_bytes()))

    return do


def without(*files: str) -> Callable[[Path], None]:
    """Return the removal of files."""
    return lambda folder: [(folder / file).unlink() for file in files if (folder / file).exists()]


def instead(*damages: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return damages one after the other."""
    return lambda folder: [damage(folder) for damage in damages]


def shards(folder: Path, of: str = "safetensors") -> list[Path]:
    """Replace the weight file by two shards."""
    stored, stem = load_file(folder / WEIGHTS), "model" if of == "safetensors" else "pytorch_model"
    (folder / WEIGHTS).unlink()
    files = [folder / f"{stem}-0000{number}-of-00002.{of}" for number in (1, 2)]
    parts = [dict(sorted(stored.items())[number::2]) for number in (0, 1)]
    for file, part in zip(files, parts, strict=True):
        save_file(part, file, {"format": "pt"}) if of == "safetensors" else torch.save(part, file)
    weight_map = {name: file.name for file, part in zip(files, parts, strict=True) for name in part}
    index = folder / (INDEX if of == "safetensors" else "pytorch_model.bin.index.json")
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return files


def remapped(change: Callable[[str], str]) -> Callable[[Path], None]:
    """Return a damage to the file names of an index."""

    def do(folder: Path) -> None:
        shards(folder)
        index = json.loads((folder / INDEX).read_text())
        index["weight_map"] = {name: change(file) for name, file in index["weight_map"].items()}
        (folder / INDEX).write_text(json.dumps(index))

    return do


def outside(folder: Path) -> None:
    """Move the shards out of the folder and let the index lead there."""
    for file in shards(folder):
        shutil.move(file, folder.parent / file.name)
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"] = {name: f"../{file}" for name, file in index["weight_map"].items()}
    (folder / INDEX).write_text(json.dumps(index))


def in_both_shards(folder: Path) -> None:
    """Put a tensor into both shards, with other values."""
    first, second = shards(folder)
    name, tensor = next(iter(load_file(first).items()))
    save_file(load_file(second) | {name: tensor + 1}, second, {"format": "pt"})


def pickled(what: Callable[[Tensors], Any]) -> Callable[[Path], None]:
    """Return the weights in torch's own format, changed."""

    def do(folder: Path) -> None:
        torch.save(what(load_file(folder / WEIGHTS)), folder / "pytorch_model.bin")
        (folder / WEIGHTS).unlink()

    return do


def only(name: str) -> Callable[[Path], object]:
    """Return weights under another name alone."""
    return instead(without(WEIGHTS), content(name, b"GGUF weights of another kind"))


def old_layout(folder: Path) -> None:
    """Move everything into 0_Transformer, as sentence-transformers once had it."""
    files = list(folder.iterdir())
    (folder / "0_Transformer").mkdir()
    for file in files:
        file.rename(folder / "0_Transformer" / file.name)
    listed(("Transformer", "0_Transformer"), ("Pooling", "1_Pooling"))(folder)


def half_vocabulary(folder: Path) -> None:
    """Cut the vocabulary in half; what is left is a whole file."""
    state = json.loads((folder / TOKENS).read_text())
    model, special = state["model"], {token["content"] for token in state["added_tokens"]}
    half = len(model["vocab"]) // 3
    if isinstance(model["vocab"], dict):
        model["vocab"] = {token: id for token, id in model["vocab"].items() if id < half or token in special}
        merges = [pair if isinstance(pair, list) else pair.split(" ") for pair in model.get("merges", [])]
        if merges:
            model["merges"] = [pair for pair in merges if {*pair, "".join(pair)} <= model["vocab"].keys()]
    else:
        model["vocab"] = model["vocab"][:half]
    (folder / TOKENS).write_text(json.dumps(state))


def more_tokens(folder: Path) -> None:
    """Add a token, as ``add_tokens`` does, without a row in the embeddings."""
    state = json.loads((folder / TOKENS).read_text())
    rows = json.loads((folder / CONFIG).read_text())["vocab_size"]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    state["added_tokens"].append({"id": rows, "content": "<sep-of-mine>", "special": True, **flags})
    (folder / TOKENS).write_text(json.dumps(state))


def listed(*modules: tuple[str, str], prefix: str = "sentence_transformers.models.") -> Callable[[Path], None]:
    """Return a ``modules.json`` with these modules: class and folder."""

    def do(folder: Path) -> None:
        entries = [
            {"idx": number, "name": str(number), "path": path, "type": f"{prefix}{kind}"}
            for number, (kind, path) in enumerate(modules)
        ]
        (folder / "modules.json").write_text(json.dumps(entries))
        for kind, path in modules:
            if kind == "Pooling":
                content(f"{path}/config.json", b'{"pooling_mode_mean_tokens": true}')(folder)

    return do


FIRST = (("Transformer", ""), ("Pooling", "1_Pooling"))
IDENTITY = "torch.nn.modules.linear.Identity"


def dense(path: str = "2_Dense", weights: bool = True, **changes: Any) -> Callable[[Path], None]:
    """Return a layer after pooling, to 6 numbers, in a folder that its modules.json may list."""

    def do(folder: Path) -> None:
        config = {"in_features": 32, "out_features": 6, "bias": True, "activation_function": IDENTITY} | changes
        (folder / path).mkdir()
        (folder / path / "config.json").write_text(json.dumps(config))
        layer = {"linear.weight": torch.ones(6, 32), "linear.bias": torch.ones(6)}
        if weights:
            save_file(layer, folder / path / WEIGHTS)

    return do


def sentence_transformers(
    *more: tuple[str, str], files: Callable[[Path], object] = lambda folder: None, **options: Any
) -> Callable[[Path], object]:
    """Return a folder of sentence-transformers, with modules after the pooling and further files."""
    return instead(listed(*FIRST, *more, **options), files)


EVERYONE = {
    "no configuration": without(CONFIG),
    "configuration is a list": content(CONFIG, b"[1, 2]"),
    "configuration is not UTF-8": content(CONFIG, b'{"model_type": "b\xff"}'),
    "half a configuration": content(CONFIG, lambda old: old[: len(old) // 2]),
    "empty configuration": content(CONFIG, b""),
    "configuration of endless nesting": content(CONFIG, b"[" * 100_000),
    "configuration is a folder": instead(without(CONFIG), lambda folder: (folder / CONFIG).mkdir()),
    "configuration is a pointer of git-lfs": content(CONFIG, POINTER),
    "model_type is a number": values(CONFIG, model_type=7),
    "model_type is a list": values(CONFIG, model_type=["bert"]),
    "auto_map is a list": values(CONFIG, auto_map=["x.Y"]),
    "quantised": values(CONFIG, quantization_config={"quant_method": "gptq", "bits": 4}),
    "weights named by the configuration": values(CONFIG, transformers_weights="../../x.safetensors"),
    "hidden size is text": values(CONFIG, hidden_size="wide"),
    "adapter beside the weights": content("adapter_config.json", b'{"base_model_name_or_path": "a/b"}'),
    "adapter alone": instead(
        without(CONFIG, WEIGHTS), content("adapter_config.json", b"{}"), content("adapter_model.safetensors", b"")
    ),
    "layout of 0_Transformer": old_layout,
    "rows for fewer tokens": scaled("vocab_size", 0.5),
    "Dense without projection": sentence_transformers(("Dense", "2_Dense"), files=dense()),
    "Dense with Tanh": sentence_transformers(
        ("Dense", "2_Dense"), files=dense(activation_function="torch.nn.modules.activation.Tanh")
    ),
    "Dense without bias": sentence_transformers(("Dense", "2_Dense"), files=dense(bias=False)),
    "two Dense": sentence_transformers(
        ("Dense", "2_Dense"), ("Dense", "3_Dense"), files=instead(dense(), dense("3_Dense"))
    ),
    "Dense that modules.json would list": dense(),
    "WeightedLayerPooling": listed(
        FIRST[0], ("WeightedLayerPooling", "1_WeightedLayerPooling"), ("Pooling", "2_Pooling")
    ),
    "CNN": listed(FIRST[0], ("CNN", "1_CNN"), ("Pooling", "2_Pooling")),
    "LayerNorm": sentence_transformers(("LayerNorm", "2_LayerNorm")),
    "first module is no Transformer": listed(("WordEmbeddings", "0_WordEmbeddings"), ("Pooling", "1_Pooling")),
    "module of its own code": sentence_transformers(("Mine", "2_Mine"), prefix="custom_code."),
    "Transformer of its own code": listed(("Transformer", ""), prefix="custom_st."),
    "Normalize before Pooling": listed(FIRST[0], ("Normalize", "1_Normalize"), FIRST[1]),
    "modules.json is an object": content("modules.json", b"{}"),
    "modules.json is empty": content("modules.json", b""),
    "modules.json of numbers": content("modules.json", b"[1]"),
    "module outside the folder": listed(FIRST[0], ("Pooling", "../1_Pooling")),
    "Pooling without its file": instead(sentence_transformers(), without("1_Pooling/config.json")),
    "Pooling of the maximum": sentence_transformers(
        files=content("1_Pooling/config.json", b'{"pooling_mode_max_tokens": true}')
    ),
    "two Poolings": sentence_transformers(files=content("1_Pooling/config.json", b'{"pooling_mode": ["cls", "mean"]}')),
    "Pooling is a number": sentence_transformers(files=content("1_Pooling/config.json", b'{"pooling_mode": [[1]]}')),
    "prompts are a list": sentence_transformers(
        files=content("config_sentence_transformers.json", b'{"prompts": ["query: "]}')
    ),
    "settings are no object": content("codiemb.json", b"[]"),
}
"""Refused by encoder and tokenizer alike."""

TOKENIZERS = {
    "no tokenizer": without(TOKENS, "tokenizer_config.json"),
    "tokenizer.json is gone": without(TOKENS),
    "half a tokenizer.json": content(TOKENS, lambda old: old[: len(old) // 2]),
    "empty tokenizer.json": content(TOKENS, b""),
    "tokenizer.json is an empty object": content(TOKENS, b"{}"),
    "tokenizer.json is a list": content(TOKENS, b"[]"),
    "tokenizer.json is a pointer of git-lfs": content(TOKENS, POINTER),
    "tokenizer.json is not UTF-8": content(TOKENS, lambda old: old.replace(b"the", b"t\xff\xfe", 1)),
    "half a vocabulary": half_vocabulary,
    "tokens without rows": more_tokens,
    "tokenizer_config.json is a list": content("tokenizer_config.json", b"[]"),
    "tokenizer_config.json is not UTF-8": content("tokenizer_config.json", b'{"eos_token": "\xff"}'),
    "half a tokenizer_config.json": content("tokenizer_config.json", lambda old: old[: len(old) // 2]),
    "special_tokens_map.json is no JSON": content("special_tokens_map.json", b"<html>"),
    "an empty vocab.txt alone": instead(without(TOKENS, "tokenizer_config.json"), content("vocab.txt", b"")),
    "an empty sentencepiece model alone": instead(
        without(TOKENS, "tokenizer_config.json"), content("tokenizer.model", b""), content("spiece.model", b"")
    ),
}
"""Refused by encoder and tokenizer."""

READERS = {
    "weights are a pointer of git-lfs": content(WEIGHTS, POINTER),
    "half of the weights": content(WEIGHTS, lambda old: old[: len(old) // 2]),
    "weights without their last byte": content(WEIGHTS, lambda old: old[:-1]),
    "weights with more bytes": content(WEIGHTS, lambda old: old + b"x"),
    "empty weights": content(WEIGHTS, b""),
    "weights of zeros": content(WEIGHTS, lambda old: bytes(len(old))),
    "weights are a page": content(WEIGHTS, b"<html>404</html>"),
    "no weights": without(WEIGHTS),
    "weights are a folder": instead(without(WEIGHTS), lambda folder: (folder / WEIGHTS).mkdir()),
    "NaN": one(lambda name, x: {name: x.clone().fill_(torch.nan)}),
    "infinity": one(lambda name, x: {name: x.index_fill(0, torch.tensor(1), -torch.inf)}),
    "integers in one tensor": one(lambda name, x: {name: (x * 100).int()}),
    "integers in all": tensors(lambda all_: {name: (x * 100).to(torch.int8) for name, x in all_.items()}),
    "8 bits": one(lambda name, x: {name: x.to(torch.float8_e5m2)}),
    "a tensor is missing": one(lambda name, x: {}),
    "a tensor has another name": one(lambda name, x: {f"{name}_": x}),
    "a tensor has another shape": one(lambda name, x: {name: x[:-1]}),
    "a tensor is transposed": one(lambda name, x: {name: x.reshape(1, *x.shape)}),
    "one tensor too many": one(lambda name, x: {name: x, f"{name}.scale": x[0].clone()}),
    "a tensor twice": in_both_shards,
    "a missing shard": lambda folder: shards(folder)[1].unlink(),
    "half a shard": lambda folder: content(shards(folder)[0].name, lambda old: old[: len(old) // 2])(folder),
    "shards swapped": remapped(
        lambda file: file.replace("1-of", "0-of").replace("2-of", "1-of").replace("0-of", "2-of")
    ),
    "shards without index": instead(shards, without(INDEX)),
    "an index to ../": outside,
    "an index to an absolute path": remapped(lambda file: f"/etc/{file}"),
    "an index to /etc/passwd": remapped(lambda file: "/etc/passwd"),
    "an index is a list": instead(shards, content(INDEX, b"[]")),
    "an index is no JSON": instead(shards, content(INDEX, b"{")),
    "an index is a pointer of git-lfs": instead(shards, content(INDEX, POINTER)),
    "an index without a map": instead(shards, content(INDEX, b'{"metadata": {}}')),
    "an index to numbers": instead(shards, content(INDEX, b'{"weight_map": {"x": 1}}')),
    "GGUF alone": only("model-q4.gguf"),
    "TensorFlow alone": only("tf_model.h5"),
    "Flax alone": only("flax_model.msgpack"),
    "ONNX alone": only("onnx/model.onnx"),
    "a pickle with code": pickled(lambda all_: {**all_, "x": _Runs()}),
    "a pickle that is code": instead(without(WEIGHTS), content("pytorch_model.bin", pickle.dumps(_Runs()))),
    "a pickle of other things": pickled(lambda all_: {"state_dict": all_, "epoch": 3}),
    "a pickle of a list": pickled(lambda all_: list(all_.values())),
    "half a pickle": instead(pickled(dict), content("pytorch_model.bin", lambda old: old[: len(old) // 2])),
    "a pickle that is a pointer of git-lfs": instead(without(WEIGHTS), content("pytorch_model.bin", POINTER)),
    "a pickle's missing shard": lambda folder: shards(folder, "bin")[0].unlink(),
}
"""Refused by encoder and merge."""

CONFIGURED = {
    "heads that do not divide": values(CONFIG, num_attention_heads=5),
    "one layer more in the configuration": values(CONFIG, num_hidden_layers=3),
    "one layer fewer in the configuration": values(CONFIG, num_hidden_layers=1),
    "another width in the configuration": scaled("hidden_size", 2),
    "another width of layers in the configuration": scaled("intermediate_size", 2),
}
"""Refused by the encoder."""

DAMAGES: dict[str, Damage] = {
    **{name: Damage(do, frozenset({ENCODER, TOKENIZER})) for name, do in (EVERYONE | TOKENIZERS).items()},
    **{name: Damage(do, frozenset({ENCODER, MERGE})) for name, do in READERS.items()},
    **{name: Damage(do, frozenset({ENCODER})) for name, do in CONFIGURED.items()},
    "unknown architecture": Damage(values(CONFIG, model_type="nobody_knows"), frozenset()),  # native.py converts some
}
