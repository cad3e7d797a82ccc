"""The transformer of an encoder: loaded, made bidirectional where asked, and tested on a few tokens.

What a backbone can do is tested, not guessed from its name (reference, defect 13).
"""

from __future__ import annotations

import inspect
from pathlib import Path

import torch
import transformers
from torch import nn
from transformers import AutoModel

from codiemb_pipeline.encoder.own_code import own_code_errors
from codiemb_pipeline.encoder.tokens import TokenBatch, pad
from codiemb_pipeline.errors import InputError
from codiemb_pipeline.params.encoder import EncoderParams

TOLERANCE = 1e-3
"""Share of the largest state: far above rounding, far below the effect of another position or visible token."""


def load_backbone(folder: Path, params: EncoderParams) -> nn.Module:
    """Load the backbone in ``folder`` in float32 on the CPU.

    Raises:
        InputError: it must attend in both directions and does not, or its own code fails.
    """
    transformers.utils.logging.disable_progress_bar()
    with own_code_errors(folder):
        backbone = AutoModel.from_pretrained(folder, dtype=torch.float32, trust_remote_code=params.trust_remote_code)
        if params.bidirectional:
            # The mask functions of transformers 5 read this key. It is saved, so that every loader attends alike.
            backbone.config.is_causal = False
            if not attends_both_ways(backbone):
                raise InputError(
                    f"params.yaml: encoder.bidirectional: {folder}: expected a backbone that can attend both ways, "
                    f"found {type(backbone).__name__}, in which tokens never see later ones; set it to false"
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
    """Return whether a backbone needs the positions of texts that are padded on the left.

    Models with absolute positions (BERT) count padding without them; others (RoBERTa) derive positions from the padding
    tokens and do not start at 0. The way that gives a padded text the same states as without padding is chosen.

    Raises:
        InputError: neither way does.
    """
    long, short = [entry for entry in _some_ids(backbone, 6) if entry != pad_id][:5], slice(2, 5)
    batch = pad([long, long[short]], [0, 0], pad_id, "left")
    alone = _states(backbone, pad([long[short]], [0], pad_id))[0]
    for count in [True, False] if "position_ids" in inspect.signature(backbone.forward).parameters else [False]:
        positions = {"position_ids": batch.positions} if count else {}
        difference = (_states(backbone, batch, **positions)[1, 2:] - alone).abs().max()
        if difference <= TOLERANCE * alone.abs().max():
            return count
    raise InputError(
        f"params.yaml: encoder.padding_side: {folder}: the states of a text change when {type(backbone).__name__} gets "
        f"it padded on the left; set it to right"
    )


def hidden_size(backbone: nn.Module) -> int:
    """Return the width of a backbone's token states."""
    return int(backbone.config.get_text_config().hidden_size)


def without_cache(backbone: nn.Module) -> dict[str, bool]:
    """Return the arguments that keep a decoder from storing keys and values, which only generation needs."""
    return {"use_cache": False} if "use_cache" in inspect.signature(backbone.forward).parameters else {}


def _some_ids(backbone: nn.Module, count: int) -> list[int]:
    """Return token ids from the middle of the vocabulary, where few are special."""
    middle = int(backbone.config.get_text_config().vocab_size) // 2
    return list(range(middle, middle + count))


def _states(backbone: nn.Module, batch: TokenBatch, **options: torch.Tensor) -> torch.Tensor:
    options |= without_cache(backbone)
    return backbone(input_ids=batch.input_ids, attention_mask=batch.attention_mask, **options).last_hidden_state
