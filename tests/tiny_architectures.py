"""Tiny random encoders of the paper's architectures, each with a tokenizer of its own kind, made without a network.

Width 32 and two layers: BERT (WordPiece), XLM-R (Unigram), Llama and Qwen 3 decoders (byte-level BPE), MiniCPM
(sentencepiece) and Youtu as the hub has them, and a decoder that runs Python code of its own.
"""

import io
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


def make_qwen3(folder: Path, seed: int = 0, *, positions: int = 128) -> Path:
    """Write a Qwen 3, its tokenizer like Qwen3-Embedding's, which ends texts with another token than ``eos_token``."""
    from tokenizers import processors
    from transformers import Qwen3Config, Qwen3Model

    backend = _byte_level(["<|endoftext|>", "<|im_end|>"])
    end = processors.TemplateProcessing(single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)])
    backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), end])
    names = {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    sizes = {**DECODER, "max_position_embeddings": positions, "head_dim": 8}
    config = Qwen3Config(vocab_size=backend.get_vocab_size(), pad_token_id=0, eos_token_id=0, **sizes, **SPREAD)
    return _write(folder, backend, names, lambda: Qwen3Model(config), seed)


MINICPM = {"scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 16, "rms_norm_eps": 1e-5, "is_causal": False}


def make_minicpm(folder: Path, seed: int = 0, *, normalisation: str = "identity") -> Path:
    """Write a MiniCPM as openbmb/MiniCPM-Embedding is on the hub.

    Its config.json has no ``model_type`` and names own code, its tensors have no prefix and lie in two bfloat16 shards,
    and of its tokenizer there is the sentencepiece model alone. Code that is run raises.
    """
    import torch
    from transformers import GraniteConfig, GraniteModel

    config = {"architectures": ["MiniCPM"], **MINICPM, **DECODER, "vocab_size": 520, "rope_scaling": None}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes = {"vocab_size": 520, **DECODER, "initializer_range": 0.1}
        tensors = GraniteModel(GraniteConfig(**sizes)).bfloat16().state_dict()
        for name in tensors:
            if "norm" in name:
                tensors[name] = (1 + 0.1 * torch.randn(32)).bfloat16()
    _write_sentencepiece(folder, normalisation)
    _write_own_code_that_raises(folder, config, "minicpm", "MiniCPM")
    _write_shards(folder, tensors)
    return folder


YOUTU = {"kv_lora_rank": 16, "q_lora_rank": 24, "qk_rope_head_dim": 8, "qk_nope_head_dim": 4, "v_head_dim": 8}


def make_youtu(folder: Path, seed: int = 0) -> Path:
    """Write a decoder of multi-head latent attention as own code has it on the hub, under old keys of RoPE."""
    from tokenizers import processors
    from transformers import YoutuConfig, YoutuModel

    backend = _byte_level(["<s>", "</s>", "<pad>"])
    start = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), start])
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    sizes = {**DECODER, **YOUTU, "num_key_value_heads": 4, "vocab_size": backend.get_vocab_size()}
    rope = {"rope_type": "default", "rope_theta": 500.0}
    config = YoutuConfig(**sizes, rope_parameters=rope, initializer_range=0.2, embedding_initializer_range=0.4)
    _write(folder, backend, names, lambda: YoutuModel(config), seed)
    old = {"rope_theta": 500.0, "rms_norm_eps": 1e-6, "n_routed_experts": None, "torch_dtype": "bfloat16"}
    _write_own_code_that_raises(folder, {**sizes, **old, "model_type": "utu"}, "utu", "UTU")
    return folder


def _write_own_code_that_raises(folder: Path, config: dict[str, Any], module: str, name: str) -> None:
    classes = {"AutoConfig": f"configuration_{module}.{name}Config", "AutoModel": f"modeling_{module}.{name}Model"}
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": classes}), encoding="utf-8")
    for file in ("configuration", "modeling"):
        code = 'raise RuntimeError("own code was run")\n'
        (folder / f"{file}_{module}.py").write_text(code, encoding="utf-8")


def _write_shards(folder: Path, tensors: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
    weight_map = {name: file for file, part in shards.items() for name in part}
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _write_sentencepiece(folder: Path, normalisation: str) -> None:
    """Write a tokenizer of byte-pair encoding with byte fallback, as Llama's and MiniCPM's."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    options = {"model_type": "bpe", "vocab_size": 520, "byte_fallback": True, "character_coverage": 1.0}
    options |= {"normalization_rule_name": normalisation, "remove_extra_whitespaces": False, "num_threads": 1}
    text = [*SENTENCES, CHINESE, ENGLISH] * 4
    SentencePieceTrainer.train(sentence_iterator=iter(text), model_writer=model, minloglevel=2, **options)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}
    config = {**names, "add_eos_token": False, "tokenizer_class": "LlamaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def make_own_code(folder: Path, seed: int = 0, *, sees_ahead: bool = True, code: str | None = None) -> Path:
    """Write a decoder whose architecture is in the folder's own Python file, and in no class of transformers.

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
    "minicpm": make_minicpm,
    "youtu": make_youtu,
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
