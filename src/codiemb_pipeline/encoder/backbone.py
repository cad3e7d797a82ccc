"""The transformer under an encoder: loaded, made bidirectional where asked, and tried out on a few tokens.

What a backbone can do is tested, not guessed from its name (reference, defect 13).
"""

from __future__ import annotations

import inspect
from pathlib import Path

import torch
import transformers
from torch import nn
from transformers import AutoModel

from codiemb_pipeline.encoder.own_code import failures_told
from codiemb_pipeline.encoder.tokens import TokenBatch, pad
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.encoder import EncoderParams

# Of the largest state: far above rounding, far below what another position or one more visible token makes.
TOLERANCE = 1e-3


def load_backbone(folder: Path, params: EncoderParams) -> nn.Module:
    """Load the backbone in ``folder`` in float32 on the CPU.

    Raises:
        InputError: it was asked to attend both ways and does not, or its own code fails.
    """
    transformers.utils.logging.disable_progress_bar()
    with failures_told(folder):
        backbone = AutoModel.from_pretrained(folder, dtype=torch.float32, trust_remote_code=params.trust_remote_code)
    if params.bidirectional:
        # The mask functions of transformers 5 read this key. It is saved: whoever loads the folder attends likewise.
        backbone.config.is_causal = False
        with failures_told(folder):
            both_ways = attends_both_ways(backbone)
        if not both_ways:
            raise InputError(
                f"params.yaml: encoder.bidirectional: {folder}: expected a backbone that can attend both ways, found "
                f"{type(backbone).__name__}, where a token sees none of the later ones even when asked to; say false"
            )
    return backbone


@torch.no_grad()
def attends_both_ways(backbone: nn.Module) -> bool:
    """Return whether the first of two tokens sees the second, with and without padding."""
    a, b, c = _some_ids(backbone, 3)
    seen = []
    for padding in ([], [a]):
        batch = pad([[a, b, *padding], [a, c, *padding]], [0, 0], a)
        batch.attention_mask[:, 2:] = 0
        states = _states(backbone, batch)[:, 0]
        seen.append(bool((states[0] - states[1]).abs().max() > TOLERANCE * states.abs().max()))
    return all(seen)


@torch.no_grad()
def must_count_positions(backbone: nn.Module, folder: Path, pad_id: int) -> bool:
    """Return whether a backbone must be told positions when texts are padded on the left.

    Absolute positions (BERT) count padding otherwise; some (RoBERTa) find them from the padding tokens themselves, and
    start elsewhere than at 0. So whichever way gives a padded text the states it has alone is taken.

    Raises:
        InputError: neither does.
    """
    long, short = [entry for entry in _some_ids(backbone, 6) if entry != pad_id][:5], slice(2, 5)
    batch = pad([long, long[short]], [0, 0], pad_id, "left")
    alone = _states(backbone, pad([long[short]], [0], pad_id))[0]
    ways = [True, False] if "position_ids" in inspect.signature(backbone.forward).parameters else [False]
    for count in ways:
        positions = {"position_ids": batch.positions} if count else {}
        difference = (_states(backbone, batch, **positions)[1, 2:] - alone).abs().max()
        if difference <= TOLERANCE * alone.abs().max():
            return count
    raise InputError(
        f"params.yaml: encoder.padding_side: {folder}: a {type(backbone).__name__} gives a text other states when it "
        f"is padded on the left; say right"
    )


def _some_ids(backbone: nn.Module, count: int) -> list[int]:
    """Return token ids from the middle of the vocabulary, where few are special."""
    size = int(backbone.config.get_text_config().vocab_size)
    return list(range(size // 2, size // 2 + count))


def without_cache(backbone: nn.Module) -> dict[str, bool]:
    """Return the arguments that keep a decoder from storing keys and values for later tokens, which never come here."""
    return {"use_cache": False} if "use_cache" in inspect.signature(backbone.forward).parameters else {}


def _states(backbone: nn.Module, batch: TokenBatch, **options: torch.Tensor) -> torch.Tensor:
    options |= without_cache(backbone)
    output = backbone(input_ids=batch.input_ids, attention_mask=batch.attention_mask, **options)
    return output.last_hidden_state
