"""Backbone, pooling, projection and normalisation as one module, and the encoder that bundles it with its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize

from codiemb_pipeline.encoder.backbone import without_cache
from codiemb_pipeline.encoder.pooling import pool
from codiemb_pipeline.encoder.prompts import PromptBook
from codiemb_pipeline.encoder.tokens import TextTokenizer, TokenBatch
from codiemb_pipeline.params.encoder import EncoderParams


class TextEncoder(nn.Module):
    """Token ids to embeddings.

    Args:
        backbone: a Hugging Face model without a head.
        params: the ``encoder`` section.
        projection: a layer for pooled vectors, or ``None``. The released code projects token states; ``cls``, ``mean``,
            ``weighted_mean`` and ``last`` are weighted sums whose weights add up to one, so the order does not matter,
            and this one costs a T-th and is what sentence-transformers calls ``Dense``.
        count_positions: tell the backbone each token's place in its text, padding not counted.
    """

    def __init__(
        self,
        backbone: nn.Module,
        params: EncoderParams,
        projection: nn.Linear | None = None,
        *,
        count_positions: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.projection = backbone, projection
        self._params, self._count_positions = params, count_positions
        self._options = without_cache(backbone)

    @property
    def layers(self) -> int:
        """Number of transformer layers."""
        return int(self.backbone.config.num_hidden_layers)

    @property
    def width(self) -> int:
        """Numbers of a full embedding, D."""
        return self.projection.out_features if self.projection is not None else hidden_size(self.backbone)

    @property
    def output_width(self) -> int:
        """Numbers of an embedding as it is used: ``dimensions``, or all."""
        return self._params.dimensions or self.width

    def token_states(self, batch: TokenBatch) -> torch.Tensor:
        """Return the last layer's token states, (n, T, hidden size)."""
        return self._run(batch).last_hidden_state

    def forward(
        self, chunks: Sequence[TokenBatch], mid_layer: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Embed texts that come in chunks, at full width; see :meth:`output`.

        Args:
            chunks: batches of token ids; a chunk is one pass through the backbone.
            mid_layer: hidden state to embed as well (0 is the input embeddings), or ``None``.

        Returns:
            Embeddings (n, D), n counting through the chunks in order, and the same of ``mid_layer`` or ``None``.
        """
        last, middle = [], []
        for chunk in chunks:
            output = self._run(chunk, output_hidden_states=mid_layer is not None)
            last.append(self._embed(output.last_hidden_state, chunk))
            if mid_layer is not None:
                middle.append(self._embed(output.hidden_states[mid_layer], chunk))
        return torch.cat(last), torch.cat(middle) if middle else None

    def output(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Cut full embeddings (n, D) to ``dimensions`` (Matryoshka, arXiv 2205.13147), of length one again."""
        if self.output_width == embeddings.shape[1]:
            return embeddings
        cut = embeddings[:, : self.output_width]
        return normalize(cut, dim=-1) if self._params.normalize else cut

    def _run(self, batch: TokenBatch, **options: Any) -> Any:
        options |= self._options
        if self._count_positions:
            options["position_ids"] = batch.positions
        return self.backbone(input_ids=batch.input_ids, attention_mask=batch.attention_mask, **options)

    def _embed(self, states: torch.Tensor, chunk: TokenBatch) -> torch.Tensor:
        skipped = None if self._params.prompts.in_pooling else chunk.prompt_lengths
        embeddings = pool(states, chunk.attention_mask, self._params.pooling, skipped)
        if self.projection is not None:
            with torch.autocast(embeddings.device.type, enabled=False):  # the loss wants float32, as without the layer
                embeddings = self.projection(embeddings)
        return normalize(embeddings, dim=-1) if self._params.normalize else embeddings


def hidden_size(backbone: nn.Module) -> int:
    """Return the width of a backbone's token states."""
    return int(backbone.config.get_text_config().hidden_size)


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
        return self.tokenizer.pad_id

    def tokenize(self, texts: Sequence[str], prefix: str = "") -> tuple[list[list[int]], list[int]]:
        """Return token ids and prompt lengths of ``texts``; see :meth:`TextTokenizer.tokenize`."""
        return self.tokenizer.tokenize(texts, prefix)
