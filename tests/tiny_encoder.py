"""Tiny random encoders on disk."""

from pathlib import Path
from string import ascii_lowercase, digits
from typing import Any

WORDS = (
    "the a of and dog cat bird fish river mountain red blue green house paper music old new small big query document"
)
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def make_tiny_encoder(folder: Path, *, seed: int = 0) -> Path:
    """Write a random two-layer BERT of width 16 with a WordPiece vocabulary of some words and all letters."""
    import torch
    from tokenizers import processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    backend = _word_pieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], unknown="[UNK]")
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, mask_token="[MASK]", model_max_length=64, **names)
    torch.manual_seed(seed)
    model = BertModel(BertConfig(vocab_size=backend.get_vocab_size(), max_position_embeddings=64, **SIZES))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tiny_decoder(
    folder: Path, *, template: str = "<s> $A", byte_level: bool = False, names: dict[str, Any] | None = None
) -> Path:
    """Write a random two-layer Llama of width 16, with the vocabulary of the tiny BERT.

    Args:
        folder: to write into.
        template: what its tokenizer puts around a text.
        byte_level: put the template behind a ``ByteLevel`` post-processor, as Llama 3 has it; an empty ``template``
            leaves that alone, as Qwen 2 has it.
        names: further settings of the tokenizer.
    """
    import torch
    from tokenizers import processors
    from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

    backend = _word_pieces(["<pad>", "<unk>", "<s>", "</s>"], unknown="<unk>")
    parts = [processors.ByteLevel(trim_offsets=False)] if byte_level else []
    if template:
        special = [("<s>", 2), ("</s>", 3)]
        parts.append(processors.TemplateProcessing(single=template, special_tokens=special))
    if parts:
        backend.post_processor = processors.Sequence(parts) if len(parts) > 1 else parts[0]
    tokens = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", **(names or {})}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=64, **tokens)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=backend.get_vocab_size(),
        num_key_value_heads=1,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        initializer_range=0.3,  # the customary 0.02 at width 16 leaves attention next to nothing to say
        **SIZES,
    )
    LlamaModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _word_pieces(special: list[str], *, unknown: str) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    letters = [*ascii_lowercase, *digits, ":", ".", ",", "?"]
    vocabulary = [*special, *WORDS.split(), *letters, *(f"##{letter}" for letter in letters)]
    ids = {token: number for number, token in enumerate(dict.fromkeys(vocabulary))}
    backend = Tokenizer(models.WordPiece(ids, unk_token=unknown))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return backend
