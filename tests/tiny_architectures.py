"""Tiny random encoders of the paper's architectures, each with a tokenizer of its own kind, made without a network.

Width 32 and two layers: BERT (WordPiece), XLM-R (Unigram), Llama and Qwen 3 decoders (byte-level BPE), and a decoder
with Python code of its own.
"""

import json
from collections.abc import Callable
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

CHINESE = (
    "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天"
    "而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长问答医药"
)
ENGLISH = "the of and dog cat bird fish river mountain red blue green house old new Instruction Query Passage Instruct"
LETTERS = [*ascii_letters, *digits, *":.,?", "：", "，", "。", "？"]
SENTENCES = [
    "the red dog and the old cat",
    "a bird of the river",
    "我们的家",
    "这个人可以看医生",
    "Instruction: find the answer Query: 你好",
    "Passage: 学生问老人",
]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
DECODER = {**SIZES, "num_key_value_heads": 2, "max_position_embeddings": 128}
# The customary 0.02 at width 32 leaves attention next to nothing to say.
SPREAD = {"initializer_range": 0.2}


def make_bert(folder: Path, seed: int = 0, *, positions: int = 128) -> Path:
    """Write a BERT, its tokenizer like bge-large-zh's: one piece for each Chinese character."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *ENGLISH.lower().split(), *LETTERS, *(f"##{letter}" for letter in LETTERS), *CHINESE]
    backend = Tokenizer(models.WordPiece(_numbered(pieces), unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    config = BertConfig(vocab_size=backend.get_vocab_size(), max_position_embeddings=positions, **SIZES, **SPREAD)
    return _write(folder, backend, names, lambda: BertModel(config), seed)


def make_xlmr(folder: Path, seed: int = 0, *, positions: int = 130) -> Path:
    """Write an XLM-R, its tokenizer like multilingual-e5's: spaces are part of the piece after them."""
    from tokenizers import processors
    from transformers import XLMRobertaConfig, XLMRobertaModel

    backend = _unigram(["<s>", "<pad>", "</s>", "<unk>"], unknown=3)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    names |= {"cls_token": "<s>", "sep_token": "</s>"}
    ids = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    config = XLMRobertaConfig(
        vocab_size=backend.get_vocab_size(),
        max_position_embeddings=positions,
        type_vocab_size=1,
        **ids,
        **SIZES,
        **SPREAD,
    )
    return _write(folder, backend, names, lambda: XLMRobertaModel(config), seed)


def make_llama(folder: Path, seed: int = 0) -> Path:
    """Write a Llama, its tokenizer like Llama 3's: bytes, and a token at the beginning."""
    from tokenizers import processors
    from transformers import LlamaConfig, LlamaModel

    backend = _byte_level(["<s>", "</s>", "<pad>"])
    start = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), start])
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    ids = {"pad_token_id": 2, "bos_token_id": 0, "eos_token_id": 1}
    config = LlamaConfig(vocab_size=backend.get_vocab_size(), **ids, **DECODER, **SPREAD)
    return _write(folder, backend, names, lambda: LlamaModel(config), seed)


def make_qwen3(folder: Path, seed: int = 0) -> Path:
    """Write a Qwen 3, its tokenizer like Qwen's: bytes, and no token around a text."""
    from tokenizers import processors
    from transformers import Qwen3Config, Qwen3Model

    backend = _byte_level(["<|endoftext|>"])
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    names = {"pad_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    config = Qwen3Config(
        vocab_size=backend.get_vocab_size(), head_dim=8, pad_token_id=0, eos_token_id=0, **DECODER, **SPREAD
    )
    return _write(folder, backend, names, lambda: Qwen3Model(config), seed)


def make_own_code(folder: Path, seed: int = 0, *, sees_ahead: bool = True, code: str | None = None) -> Path:
    """Write a decoder whose architecture is in the folder's own Python file, as MiniCPM-Embedding's is.

    Args:
        folder: to write into.
        seed: of the weights.
        sees_ahead: whether its attention goes both ways; whatever else it is asked to do.
        code: put into the folder in place of the code that made the weights.
    """
    import importlib.util
    import sys

    from tokenizers import processors

    folder.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).with_name("own_code_model.txt").read_text(encoding="utf-8")
    file = folder / "modeling_tiny.py"
    file.write_text(source, encoding="utf-8")
    backend = _unigram(["<unk>", "<s>", "</s>"], unknown=0)
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    spec = importlib.util.spec_from_file_location("tiny_own_code", file)
    module = sys.modules["tiny_own_code"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.TinyConfig(vocab_size=backend.get_vocab_size(), sees_ahead=sees_ahead, **SIZES)
    _write(folder, backend, names, lambda: module.TinyModel(config), seed)
    state = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    state["auto_map"] = {"AutoConfig": "modeling_tiny.TinyConfig", "AutoModel": "modeling_tiny.TinyModel"}
    (folder / "config.json").write_text(json.dumps(state), encoding="utf-8")
    file.write_text(source if code is None else code, encoding="utf-8")
    return folder


MAKERS: dict[str, Callable[..., Path]] = {
    "bert": make_bert,
    "xlm-r": make_xlmr,
    "llama": make_llama,
    "qwen3": make_qwen3,
    "own code": make_own_code,
}


def _write(folder: Path, backend: Any, names: dict[str, str], model: Callable[[], Any], seed: int) -> Path:
    import torch
    from transformers import PreTrainedTokenizerFast

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model().save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=128, **names).save_pretrained(folder)
    return folder


def _numbered(pieces: list[str]) -> dict[str, int]:
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}


def _unigram(special: list[str], *, unknown: int) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = [f"▁{word}" for word in ENGLISH.split()]
    pieces = dict.fromkeys([*special, "▁", *words, *LETTERS, *CHINESE])
    scores = [(piece, 0.0 if piece in special else -2.0 - 0.01 * number) for number, piece in enumerate(pieces)]
    backend = Tokenizer(models.Unigram(scores, unk_id=unknown, byte_fallback=False))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    return backend


def _byte_level(special: list[str]) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(SENTENCES, trainer)
    return backend
