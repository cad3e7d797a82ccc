"""Backbone, pooling and normalisation as one module, and the encoder that bundles it with its tokenizer.

Knows nothing of losses, files or other processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import normalize

from codiemb_pipeline.encoder.pooling import pool
from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.encoder.tokens import TextTokenizer, TokenBatch
from codiemb_pipeline.params.encoder import EncoderParams


class TextEncoder(nn.Module):
    """Token ids to embeddings."""

    def __init__(self, backbone: nn.Module, params: EncoderParams) -> None:
        super().__init__()
        self.backbone = backbone
        self._pooling, self._normalize = params.pooling, params.normalize
        self._skip_prompt = not params.prompts.in_pooling

    @property
    def layers(self) -> int:
        """Number of transformer layers."""
        return int(self.backbone.config.num_hidden_layers)

    def token_states(self, batch: TokenBatch) -> torch.Tensor:
        """Return the last layer's token states, (n, T, D)."""
        return self.backbone(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state

    def forward(
        self, chunks: Sequence[TokenBatch], mid_layer: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Embed texts that come in chunks.

        Args:
            chunks: batches of token ids; a chunk is one pass through the backbone.
            mid_layer: hidden state to embed as well (0 is the input embeddings), or ``None``.

        Returns:
            Embeddings (n, D), n counting through the chunks in order, and the same of ``mid_layer`` or ``None``.
        """
        last, middle = [], []
        for chunk in chunks:
            output = self.backbone(
                input_ids=chunk.input_ids,
                attention_mask=chunk.attention_mask,
                output_hidden_states=mid_layer is not None,
            )
            last.append(self._embed(output.last_hidden_state, chunk))
            if mid_layer is not None:
                middle.append(self._embed(output.hidden_states[mid_layer], chunk))
        return torch.cat(last), torch.cat(middle) if middle else None

    def _embed(self, states: torch.Tensor, chunk: TokenBatch) -> torch.Tensor:
        skipped = chunk.prompt_lengths if self._skip_prompt else None
        embeddings = pool(states, chunk.attention_mask, self._pooling, skipped)
        return normalize(embeddings, dim=-1) if self._normalize else embeddings


@dataclass(frozen=True)
class Encoder:
    """A text encoder with all that is needed to go from text to vector."""

    model: TextEncoder
    tokenizer: TextTokenizer

    @property
    def params(self) -> EncoderParams:
        """The settings it was loaded under."""
        return self.tokenizer.params

    @property
    def prompts(self) -> PromptBook:
        """The prompts it was loaded under."""
        return self.tokenizer.prompts

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.model.parameters()).device

    @property
    def pad_id(self) -> int:
        """Token id that fills up rows."""
        pad_id = self.tokenizer.backend.pad_token_id
        return 0 if pad_id is None else int(pad_id)  # masked either way

    def tokenize(self, texts: Sequence[str], prefix: str = "") -> tuple[list[list[int]], list[int]]:
        """Return token ids and prompt lengths of ``texts``; see :meth:`TextTokenizer.tokenize`."""
        return self.tokenizer.tokenize(texts, prefix)
